// The gRPC servers and clients of grpc.test.ts. Messages are bytes as they are: no generated code is needed.
//
//	grpc serve ADDRESS NAME       answers until it is ended; prints a line when it listens
//	grpc unary ADDRESS FLAGS      calls; prints an empty line at the first answer, and a report as JSON
//	grpc streams ADDRESS FLAGS    opens streams one after another, holds them all, closes them; prints a report
//	grpc hold ADDRESS             sends a message on one stream every 50 ms until SIGTERM; prints a report
//
// What a call asks of the server is its method: /lab/Name answers with the server's name, and fails with the status of the
// header lab-status, if there is one; /lab/Chat answers each message with the name; /lab/Seen/ID answers how often a call with
// the header lab-id: ID has come; /lab/Fail/STATUS has /lab/Name fail with that status from now on;
// /lab/Layer answers which layer the call has come by.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "grpc serve|unary|streams|hold ADDRESS ...")
		os.Exit(2)
	}
	command, address, arguments := os.Args[1], os.Args[2], os.Args[3:]
	switch command {
	case "serve":
		serve(address, arguments[0])
	case "unary":
		unary(address, arguments)
	case "streams":
		streams(address, arguments)
	case "hold":
		hold(address)
	default:
		fmt.Fprintln(os.Stderr, "grpc: no command", command)
		os.Exit(2)
	}
}

// raw is a codec that takes messages as they are: each is a *[]byte.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }
func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "raw" }
