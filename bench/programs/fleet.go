package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// One agent's share of a fleet.
type fleetNode struct {
	Name  string `json:"name"`
	Token string `json:"token"`
	// The address that it connects from, as each node has its own.
	Source string `json:"source"`
}

// Printed as soon as every client has been told everything.
type fleetReport struct {
	// From the start of all until each had everything, in ascending order.
	Seconds []float64 `json:"seconds"`
	// Of all messages to all clients, without frames and TLS.
	Bytes int64 `json:"bytes"`
	// Resources by type that a client was told.
	Resources map[string]int `json:"resources"`
	// All clients have the same of what is not a node's own.
	Alike bool `json:"alike"`
	// Streams that were refused or ended, and begun again.
	Retries int64 `json:"retries"`
}

// Printed at the end: what was told since, by name and version, and when by each client.
type fleetArrivals struct {
	// Of all the time.
	Retries  int64              `json:"retries"`
	Arrivals map[string]arrival `json:"arrivals"`
}

type arrival struct {
	// Milliseconds since the epoch.
	First float64 `json:"first"`
	// Of each client, milliseconds after that.
	After []float64 `json:"after"`
}

type fleetClient struct {
	fleetNode
	address string
	tls     *tls.Config
	state   factsState
}

const (
	factsPath = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
	// As src/sources/controlplane/stream.ts has it.
	acceptTime = 15 * time.Second
	// As src/sources/watch/backoff.ts has it.
	shortestPause = 200 * time.Millisecond
	longestPause  = 30 * time.Second
)

// As many agents as nodes are given connect to a control plane at once, take everything and acknowledge it, but count and hash in
// place of decoding. SIGTERM ends it.
func fleet(arguments []string) error {
	flags := flag.NewFlagSet("fleet", flag.ExitOnError)
	address := flags.String("address", "", "host:port of the control plane")
	authorityFile := flags.String("authority", "", "file with the certificate (PEM) that has signed its own")
	nodesFile := flags.String("nodes", "", "file with the nodes (JSON): name, token and source of each")
	_ = flags.Parse(arguments)

	text, err := os.ReadFile(*nodesFile)
	if err != nil {
		return err
	}
	var nodes []fleetNode
	if err := json.Unmarshal(text, &nodes); err != nil {
		return err
	}
	authority, err := os.ReadFile(*authorityFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return fmt.Errorf("%s has no certificate", *authorityFile)
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)

	clients := make([]*fleetClient, len(nodes))
	var missing sync.WaitGroup
	var retries atomic.Int64
	missing.Add(len(nodes))
	began := time.Now()
	for i, node := range nodes {
		clients[i] = &fleetClient{node, *address, config, factsState{complete: missing.Done}}
		go clients[i].follow(&retries)
	}
	everything := make(chan struct{})
	go func() {
		missing.Wait()
		close(everything)
	}()
	select {
	case <-everything:
	case <-stop:
		return errors.New("not every client has been told everything")
	}
	if err := print(reportOf(clients, began, retries.Load())); err != nil {
		return err
	}
	<-stop
	return print(arrivalsOf(clients, retries.Load()))
}

// Begins a stream again whenever one ends, with an agent's pauses.
func (client *fleetClient) follow(retries *atomic.Int64) {
	pause := shortestPause
	for {
		client.stream()
		retries.Add(1)
		time.Sleep(pause/2 + rand.N(pause/2))
		pause = min(2*pause, longestPause)
	}
}

func (client *fleetClient) stream() error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client.Source)}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: client.tls, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	body, requests := io.Pipe()
	defer requests.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	accepting := time.AfterFunc(acceptTime, cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+client.address+factsPath, body)
	if err != nil {
		return err
	}
	request.Header = http.Header{
		"Content-Type":           {"application/grpc"},
		"Te":                     {"trailers"},
		"Authorization":          {"Bearer " + client.Token},
		"Lightpath-Facts-Format": {"1"},
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	accepting.Stop()
	defer response.Body.Close()
	if response.Header.Get("Lightpath-Facts-Format") == "" {
		return errors.New(response.Header.Get("Grpc-Message"))
	}
	client.state.begin()
	if _, err := requests.Write(subscriptions(client.Name)); err != nil {
		return err
	}
	reader := bufio.NewReaderSize(response.Body, 64<<10)
	var message []byte
	for {
		if message, err = readMessage(reader, message); err != nil {
			return err
		}
		answer, err := client.state.take(message)
		if err != nil {
			return err
		}
		if answer == nil {
			continue
		}
		if _, err := requests.Write(answer); err != nil {
			return err
		}
	}
}

func reportOf(clients []*fleetClient, began time.Time, retries int64) fleetReport {
	report := fleetReport{Retries: retries, Alike: true}
	first := clients[0].state.summary()
	report.Resources = first.resources
	for _, client := range clients {
		summary := client.state.summary()
		report.Seconds = append(report.Seconds, summary.completed.Sub(began).Seconds())
		report.Bytes += summary.bytes
		report.Alike = report.Alike && summary.hash == first.hash
	}
	slices.Sort(report.Seconds)
	return report
}

func arrivalsOf(clients []*fleetClient, retries int64) fleetArrivals {
	times := map[string][]time.Time{}
	for _, client := range clients {
		for _, told := range client.state.later() {
			times[told.key] = append(times[told.key], told.at)
		}
	}
	found := fleetArrivals{retries, map[string]arrival{}}
	for key, its := range times {
		first := slices.MinFunc(its, time.Time.Compare)
		after := make([]float64, len(its))
		for i, at := range its {
			after[i] = float64(at.Sub(first).Microseconds()/10) / 100
		}
		found.Arrivals[key] = arrival{float64(first.UnixMicro()) / 1000, after}
	}
	return found
}
