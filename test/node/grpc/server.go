package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type server struct {
	name  string
	fails atomic.Int32
	lock  sync.Mutex
	seen  map[string]int
}

// serve answers gRPC at the address, and on the port after it gRPC and HTTP/1.1 alike.
func serve(address, name string) {
	s := &server{name: name, seen: map[string]int{}}
	handlers := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(s.handle))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	both := &http.Server{Addr: next(address), Protocols: new(http.Protocols), Handler: http.HandlerFunc(
		func(response http.ResponseWriter, request *http.Request) {
			if request.ProtoMajor == 2 {
				handlers.ServeHTTP(response, request)
				return
			}
			fmt.Fprintln(response, "well by", request.Proto)
		})}
	both.Protocols.SetHTTP1(true)
	both.Protocols.SetUnencryptedHTTP2(true)
	bothListener, err := net.Listen("tcp", both.Addr)
	if err != nil {
		log.Fatal(err)
	}
	go both.Serve(bothListener)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		handlers.GracefulStop()
		os.Exit(0)
	}()
	fmt.Println("listening")
	log.Fatal(handlers.Serve(listener))
}

func next(address string) string {
	host, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	return net.JoinHostPort(host, strconv.Itoa(number+1))
}

func (s *server) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	what, argument, _ := strings.Cut(strings.TrimPrefix(method, "/lab/"), "/")
	name := []byte(s.name)
	var message []byte
	if what == "Chat" {
		for {
			if err := stream.RecvMsg(&message); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(&name); err != nil {
				return err
			}
		}
	}
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	switch what {
	case "Layer":
		layer := []byte("kernel")
		if headers, _ := metadata.FromIncomingContext(stream.Context()); headers.Get("x-envoy-attempt-count") != nil {
			layer = []byte("envoy")
		}
		return stream.SendMsg(&layer)
	case "Name":
		if err := s.count(stream.Context()); err != nil {
			return err
		}
		if code := s.fails.Load(); code != 0 {
			return status.Error(codes.Code(code), s.name)
		}
		return stream.SendMsg(&name)
	case "Seen":
		s.lock.Lock()
		count := []byte(strconv.Itoa(s.seen[argument]))
		s.lock.Unlock()
		return stream.SendMsg(&count)
	case "Fail":
		code, _ := strconv.Atoi(argument)
		s.fails.Store(int32(code))
		return stream.SendMsg(&name)
	}
	return status.Error(codes.Unimplemented, method)
}

// count keeps in mind that the call has come, and fails as it asks.
func (s *server) count(ctx context.Context) error {
	headers, _ := metadata.FromIncomingContext(ctx)
	for _, id := range headers.Get("lab-id") {
		s.lock.Lock()
		s.seen[id]++
		s.lock.Unlock()
	}
	for _, word := range headers.Get("lab-status") {
		code, _ := strconv.Atoi(word)
		return status.Error(codes.Code(code), s.name)
	}
	return nil
}
