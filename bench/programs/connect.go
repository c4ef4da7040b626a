package main

import (
	"flag"
	"fmt"
	"net"
	"time"
)

type connectReport struct {
	Connections int `json:"connections"`
	Failed      int `json:"failed"`
	// Connections a second.
	Rate        float64            `json:"rate"`
	Mean        float64            `json:"mean"`
	Max         float64            `json:"max"`
	Percentiles map[string]float64 `json:"percentiles"`
	Curve       [][2]float64       `json:"curve"`
}

// Opens a connection to each address in turn and closes it at once (with a reset, so that none waits in TIME_WAIT): the time of
// the first packet's way there and back, which is where rules are looked up.
func connect(arguments []string) error {
	flags := flag.NewFlagSet("connect", flag.ExitOnError)
	duration := flags.Duration("duration", 5*time.Second, "for how long")
	_ = flags.Parse(arguments)
	addresses := flags.Args()
	if len(addresses) == 0 {
		return fmt.Errorf("no address")
	}

	report := connectReport{}
	times := []float64{}
	began := time.Now()
	for index := 0; time.Since(began) < *duration; index++ {
		asked := time.Now()
		connection, err := net.DialTimeout("tcp", addresses[index%len(addresses)], 2*time.Second)
		if err != nil {
			report.Failed++
			continue
		}
		times = append(times, float64(time.Since(asked))/1e6)
		_ = connection.(*net.TCPConn).SetLinger(0)
		connection.Close()
	}
	report.Connections = len(times)
	report.Rate = float64(len(times)) / time.Since(began).Seconds()
	report.Mean, report.Max, report.Percentiles, report.Curve = distribution(times)
	return print(report)
}
