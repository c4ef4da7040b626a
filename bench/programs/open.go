package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

type openReport struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Errors   map[string]int `json:"errors"`
	// Good answers by X-Hostname.
	Endpoints map[string]int `json:"endpoints"`
	// Of good answers, milliseconds from when each was due.
	Mean        float64            `json:"mean"`
	Max         float64            `json:"max"`
	Percentiles map[string]float64 `json:"percentiles"`
	Curve       [][2]float64       `json:"curve"`
	// When the first and the last request that failed were due, milliseconds since the epoch; 0 without one.
	FirstFailure float64 `json:"firstFailure"`
	LastFailure  float64 `json:"lastFailure"`
	// For each tenth of a second by when requests were due: requests, those that failed, the longest time.
	Series []moment `json:"series"`
	// Milliseconds since the epoch.
	Began float64 `json:"began"`
}

type moment struct {
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Max      float64 `json:"max"`
}

type outcome struct {
	due      time.Duration
	took     time.Duration
	endpoint string
	failure  string
}

// Requests are due at fixed times, whatever the answers do. A connection takes the next request that is due, and the time of one
// that had to wait for a connection counts from when it was due: what a client that comes at that moment would have waited.
func open(arguments []string) error {
	flags := flag.NewFlagSet("open", flag.ExitOnError)
	url := flags.String("url", "", "where to")
	rate := flags.Float64("rate", 100, "requests a second")
	connections := flags.Int("connections", 20, "connections")
	duration := flags.Duration("duration", 10*time.Second, "for how long; SIGTERM ends it earlier")
	size := flags.Int("size", 0, "bytes of a request's body")
	method := flags.String("method", "GET", "HTTP method")
	timeout := flags.Duration("timeout", 10*time.Second, "of one request, from when it was due")
	variant := flags.String("variant", "", "value of the header "+variantHeader)
	fresh := flags.Bool("fresh", false, "a new connection for each request")
	_ = flags.Parse(arguments)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	began := time.Now()
	due := make(chan time.Duration)
	go func() {
		defer close(due)
		interval := time.Duration(float64(time.Second) / *rate)
		for at := time.Duration(0); at < *duration; at += interval {
			select {
			case due <- at:
			case <-stop:
				return
			}
		}
	}()

	body := bytes.Repeat([]byte{'.'}, *size)
	outcomes := make([][]outcome, *connections)
	var connected sync.WaitGroup
	for connection := range *connections {
		connected.Go(func() {
			transport := &http.Transport{DisableKeepAlives: *fresh, MaxConnsPerHost: 1, DisableCompression: true}
			client := &http.Client{Transport: transport}
			for at := range due {
				time.Sleep(time.Until(began.Add(at)))
				deadline, cancel := context.WithDeadline(context.Background(), began.Add(at+*timeout))
				endpoint, failure := ask(deadline, client, *method, *url, *variant, body)
				cancel()
				outcomes[connection] = append(outcomes[connection], outcome{at, time.Since(began) - at, endpoint, failure})
			}
		})
	}
	connected.Wait()
	return print(summarise(began, slices.Concat(outcomes...)))
}

func ask(deadline context.Context, client *http.Client, method, url, variant string, body []byte) (endpoint, failure string) {
	// Of a body that it cannot read again the transport tries nothing again: what fails is counted.
	request, err := http.NewRequestWithContext(deadline, method, url, io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		return "", err.Error()
	}
	request.ContentLength = int64(len(body))
	request.Header.Set(variantHeader, variant)
	answer, err := client.Do(request)
	if err != nil {
		return "", kindOf(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "", kindOf(err)
	}
	if answer.StatusCode >= 400 {
		return "", fmt.Sprintf("HTTP %d", answer.StatusCode)
	}
	return answer.Header.Get("X-Hostname"), ""
}

func kindOf(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
		return "timeout"
	}
	text := err.Error()
	if colon := strings.LastIndex(text, ": "); colon >= 0 {
		return text[colon+2:]
	}
	return text
}

func summarise(began time.Time, outcomes []outcome) openReport {
	report := openReport{
		Requests: len(outcomes), Errors: map[string]int{}, Endpoints: map[string]int{}, Began: milliseconds(began),
	}
	slices.SortFunc(outcomes, func(a, b outcome) int { return int(a.due - b.due) })
	times := []float64{}
	for _, one := range outcomes {
		slot := int(one.due / (100 * time.Millisecond))
		for len(report.Series) <= slot {
			report.Series = append(report.Series, moment{})
		}
		now := &report.Series[slot]
		took := float64(one.took) / 1e6
		now.Requests++
		now.Max = max(now.Max, took)
		if one.failure == "" {
			report.Endpoints[one.endpoint]++
			times = append(times, took)
			continue
		}
		now.Failed++
		report.Failed++
		report.Errors[one.failure]++
		report.LastFailure = milliseconds(began.Add(one.due))
		if report.FirstFailure == 0 {
			report.FirstFailure = report.LastFailure
		}
	}
	report.Mean, report.Max, report.Percentiles, report.Curve = distribution(times)
	return report
}

func milliseconds(at time.Time) float64 { return float64(at.UnixMicro()) / 1000 }
