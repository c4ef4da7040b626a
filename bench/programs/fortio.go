package main

import (
	"bytes"
	"flag"
	"io"
	"time"

	"fortio.org/fortio/fhttp"
	"fortio.org/fortio/periodic"
	"fortio.org/log"
)

type fortioReport struct {
	// Requests a second: what was asked for (0: as many as possible) and what was reached.
	Asked    float64       `json:"asked"`
	Reached  float64       `json:"reached"`
	Requests int64         `json:"requests"`
	Codes    map[int]int64 `json:"codes"`
	Sockets  int64         `json:"sockets"`
	// Milliseconds.
	Mean        float64            `json:"mean"`
	Max         float64            `json:"max"`
	Percentiles map[string]float64 `json:"percentiles"`
	// Upper bound of a bucket in milliseconds, and the per cent of all requests up to it.
	Curve [][2]float64 `json:"curve"`
}

func fortio(arguments []string) error {
	flags := flag.NewFlagSet("fortio", flag.ExitOnError)
	url := flags.String("url", "", "where to")
	rate := flags.Float64("rate", 0, "requests a second; 0: as many as possible")
	connections := flags.Int("connections", 20, "connections")
	duration := flags.Duration("duration", 10*time.Second, "for how long")
	size := flags.Int("size", 0, "bytes of a request's body")
	method := flags.String("method", "GET", "HTTP method")
	uniform := flags.Bool("uniform", false, "the connections take turns, in place of 10 % jitter")
	variant := flags.String("variant", "", "value of the header "+variantHeader)
	_ = flags.Parse(arguments)

	log.SetLogLevel(log.Critical)
	options := fhttp.HTTPRunnerOptions{
		HTTPOptions: fhttp.HTTPOptions{
			URL: *url, MethodOverride: *method, Payload: bytes.Repeat([]byte{'.'}, *size), HTTPReqTimeOut: 10 * time.Second,
		},
		RunnerOptions: periodic.RunnerOptions{
			QPS: *rate, NumThreads: *connections, Duration: *duration, Jitter: !*uniform, Uniform: *uniform, Resolution: 0.0001,
			Percentiles: []float64{50, 75, 90, 99, 99.9}, Out: io.Discard,
		},
		AllowInitialErrors: true,
	}
	if *rate == 0 {
		options.QPS = -1
	}
	if *variant != "" {
		if err := options.AddAndValidateExtraHeader(variantHeader + ": " + *variant); err != nil {
			return err
		}
	}
	results, err := fhttp.RunHTTPTest(&options)
	if err != nil {
		return err
	}
	histogram := results.DurationHistogram
	report := fortioReport{
		Asked: *rate, Reached: results.ActualQPS, Requests: histogram.Count, Codes: results.RetCodes, Sockets: results.SocketCount,
		Mean: histogram.Avg * 1000, Max: histogram.Max * 1000, Percentiles: map[string]float64{},
	}
	for _, percentile := range histogram.Percentiles {
		report.Percentiles[percentileName(percentile.Percentile)] = percentile.Value * 1000
	}
	for _, bucket := range histogram.Data {
		report.Curve = append(report.Curve, [2]float64{bucket.End * 1000, bucket.Percent})
	}
	return print(report)
}
