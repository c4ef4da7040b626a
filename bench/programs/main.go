// The programs of the measurements that must cost little CPU time themselves.
//
//	bench serve FLAGS     one server of a service graph, or a plain one (serve.go)
//	bench fortio FLAGS    Fortio's HTTP load, as its own program runs it; prints its report as JSON (fortio.go)
//	bench open FLAGS      open-loop HTTP load; prints a report as JSON (open.go)
//	bench connect FLAGS   a new connection after the other; prints a report as JSON (connect.go)
//	bench fleet FLAGS     agents that read from a control plane; prints reports as JSON (fleet.go)
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"serve": serve, "fortio": fortio, "open": open, "connect": connect, "fleet": fleet}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "bench serve|fortio|open|connect|fleet FLAGS")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func print(report any) error {
	return json.NewEncoder(os.Stdout).Encode(report)
}
