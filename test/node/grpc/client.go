package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// report is what a client has seen: how many answers of each server, and how many calls failed with each status.
type report struct {
	lock   sync.Mutex
	begun  sync.Once
	Shares map[string]int
	Errors map[string]int
}

func newReport() *report { return &report{Shares: map[string]int{}, Errors: map[string]int{}} }

func (r *report) add(answer []byte, err error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	// Calls are under way; JSON may have white space before it.
	r.begun.Do(func() { fmt.Println() })
	if err != nil {
		r.Errors[status.Code(err).String()]++
		return
	}
	r.Shares[string(answer)]++
}

func (r *report) print() {
	r.lock.Lock()
	defer r.lock.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		log.Fatal(err)
	}
}

// dial makes one connection for all calls.
func dial(address string, options ...grpc.DialOption) *grpc.ClientConn {
	connection, err := grpc.NewClient("passthrough:///"+address, append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))...)
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

func unary(address string, arguments []string) {
	flags := flag.NewFlagSet("unary", flag.ExitOnError)
	count := flags.Int("count", 1, "calls in all; 0: until SIGTERM")
	rate := flags.Int("rate", 0, "calls a second; 0: as fast as answers come")
	atATime := flags.Int("at-a-time", 1, "calls in flight, at most")
	method := flags.String("method", "/lab/Name", "")
	code := flags.String("status", "", "that the server is to answer")
	id := flags.String("id", "", "of the calls; with a number behind it where it ends with a dash")
	flags.Parse(arguments)
	connection, seen := dial(address), newReport()
	numbers := make(chan int)
	var clients sync.WaitGroup
	for range *atATime {
		clients.Go(func() {
			for number := range numbers {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				if *code != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, "lab-status", *code)
				}
				if *id != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, "lab-id", fmt.Sprint(*id, number))
				}
				var question, answer []byte
				err := connection.Invoke(ctx, *method, &question, &answer)
				cancel()
				seen.add(answer, err)
			}
		})
	}
	ended := ending()
	for number := 0; *count == 0 || number < *count; number++ {
		if *rate > 0 {
			time.Sleep(time.Second / time.Duration(*rate))
		}
		select {
		case <-ended:
			*count = number
		case numbers <- number:
		}
		if *count == number && number > 0 {
			break
		}
	}
	close(numbers)
	clients.Wait()
	seen.print()
}

func streams(address string, arguments []string) {
	flags := flag.NewFlagSet("streams", flag.ExitOnError)
	count := flags.Int("count", 1, "")
	flags.Parse(arguments)
	connection, seen := dial(address), newReport()
	ctx, cancel := context.WithCancel(context.Background())
	for range *count {
		var answer []byte
		chat, err := open(ctx, connection)
		if err == nil {
			answer, err = say(chat)
		}
		seen.add(answer, err)
	}
	cancel()
	seen.print()
}

// hold pings every 10 s, as often as grpc-go lets a client, which says no more often what it is told to.
func hold(address string) {
	connection := dial(address, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second}))
	seen, ended := newReport(), ending()
	chat, err := open(context.Background(), connection)
	if err != nil {
		log.Fatal(err)
	}
	for {
		answer, err := say(chat)
		seen.add(answer, err)
		if err != nil {
			break
		}
		select {
		case <-ended:
			seen.print()
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	seen.print()
}

func open(ctx context.Context, connection *grpc.ClientConn) (grpc.ClientStream, error) {
	return connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/lab/Chat")
}

func say(chat grpc.ClientStream) (answer []byte, err error) {
	var question []byte
	if err = chat.SendMsg(&question); err == nil {
		err = chat.RecvMsg(&answer)
	}
	return answer, err
}

func ending() chan os.Signal {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	return ended
}
