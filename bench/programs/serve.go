package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How a server calls others: a header says by which of these maps (a variant, such as kube-proxy) a service's name becomes
// addresses, which are taken in turns.
type targets map[string]map[string][]string

const variantHeader = "X-Variant"

// What POST /fault sets: the status of every answer, unless it is 0, and a delay before each.
type fault struct {
	status int
	delay  time.Duration
}

type server struct {
	name     string
	calls    []string
	targets  targets
	body     []byte
	errors   float64
	delay    time.Duration
	stall    time.Duration
	every    time.Duration
	workers  chan struct{}
	turn     atomic.Uint64
	requests sync.Map
	fault    atomic.Pointer[fault]
	client   *http.Client
	began    time.Time
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address")
	name := flags.String("name", "server", "what it calls itself in X-Hostname")
	calls := flags.String("calls", "", "services to call, all at once, before it answers, separated by commas")
	file := flags.String("targets", "", "JSON: variant to service to addresses")
	size := flags.Int("size", 1024, "bytes of an answer, and of the requests that it sends")
	errors := flags.Float64("errors", 0, "per cent of requests that are answered 500")
	delay := flags.Duration("delay", 0, "before each answer")
	stall := flags.Duration("stall", 0, "stands still so long")
	every := flags.Duration("every", 0, "so often")
	workers := flags.Int("workers", 0, "requests at a time, as a server with so many threads; 0: all")
	_ = flags.Parse(arguments)

	s := &server{name: *name, errors: *errors, delay: *delay, stall: *stall, every: *every, began: time.Now()}
	s.body = bytes.Repeat([]byte{'.'}, *size)
	s.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 256,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
	if *workers > 0 {
		s.workers = make(chan struct{}, *workers)
	}
	if *calls != "" {
		s.calls = strings.Split(*calls, ",")
	}
	if *file != "" {
		text, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &s.targets); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return serveUntilTold(&http.Server{Handler: s}, listener)
}

// SIGTERM ends idle connections at once and others after their answer, as servers do that end gracefully.
func serveUntilTold(server *http.Server, listener net.Listener) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() {
		<-told
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return <-ended
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Hostname", s.name)
	if r.URL.Path == "/counters" {
		s.writeCounters(w)
		return
	}
	if r.URL.Path == "/fault" {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		delay, _ := time.ParseDuration(r.URL.Query().Get("delay"))
		s.fault.Store(&fault{status, delay})
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	s.count(r)
	if s.workers != nil {
		s.workers <- struct{}{}
		defer func() { <-s.workers }()
	}
	if s.every > 0 {
		// All requests of a stall end with it.
		if into := time.Since(s.began) % s.every; into < s.stall {
			time.Sleep(s.stall - into)
		}
	}
	time.Sleep(s.delay)
	if set := s.fault.Load(); set != nil {
		time.Sleep(set.delay)
		if set.status != 0 {
			w.WriteHeader(set.status)
			return
		}
	}
	if rand.Float64()*100 < s.errors || !s.callAll(r.Header.Get(variantHeader)) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(s.body)
}

// Whether all others have answered well.
func (s *server) callAll(variant string) bool {
	if len(s.calls) == 0 {
		return true
	}
	answers := make(chan bool, len(s.calls))
	for _, service := range s.calls {
		go func() { answers <- s.call(variant, service) }()
	}
	good := true
	for range s.calls {
		good = <-answers && good
	}
	return good
}

func (s *server) call(variant, service string) bool {
	addresses := s.targets[variant][service]
	if len(addresses) == 0 {
		return false
	}
	address := addresses[s.turn.Add(1)%uint64(len(addresses))]
	request, err := http.NewRequest("GET", "http://"+address+"/", bytes.NewReader(s.body))
	if err != nil {
		return false
	}
	request.Header.Set(variantHeader, variant)
	answer, err := s.client.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode < 400
}

// Counted by method and variant.
func (s *server) count(r *http.Request) {
	counter, _ := s.requests.LoadOrStore(r.Method+" "+r.Header.Get(variantHeader), new(atomic.Uint64))
	counter.(*atomic.Uint64).Add(1)
}

func (s *server) writeCounters(w http.ResponseWriter) {
	counters := map[string]uint64{}
	s.requests.Range(func(key, counter any) bool {
		counters[key.(string)] = counter.(*atomic.Uint64).Load()
		return true
	})
	_ = json.NewEncoder(w).Encode(counters)
}
