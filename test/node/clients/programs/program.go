// A server and a client of net/http: `program serve CONTENT PORT:IDLE-MS...`, `program ask UPLOAD URL...`.
package main

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3:])
	} else {
		ask(os.Args[2], os.Args[3:])
	}
}

func serve(content string, ports []string) {
	paths := http.NewServeMux()
	for _, name := range []string{"hello", "big"} {
		bytes, _ := os.ReadFile(filepath.Join(content, name))
		paths.HandleFunc("/"+name, func(answer http.ResponseWriter, _ *http.Request) { answer.Write(bytes) })
	}
	paths.HandleFunc("/echo", func(answer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		answer.Write(body)
	})
	for name, status := range map[string]int{"missing": 404, "failing": 500} {
		paths.HandleFunc("/"+name, func(answer http.ResponseWriter, _ *http.Request) {
			answer.WriteHeader(status)
			io.WriteString(answer, "no")
		})
	}
	for _, port := range ports {
		number, idle, _ := strings.Cut(port, ":")
		milliseconds, _ := strconv.Atoi(idle)
		server := &http.Server{Addr: ":" + number, Handler: paths, IdleTimeout: time.Duration(milliseconds) * time.Millisecond}
		go server.ListenAndServe()
	}
	select {}
}

func ask(file string, urls []string) {
	upload, _ := os.ReadFile(file)
	// Hides the length, so that the body is chunked.
	unsized := func() io.Reader { return io.MultiReader(bytes.NewReader(upload)) }
	for _, url := range urls {
		tell := func(operation, method, path string, body io.Reader, times int, header ...string) {
			status, sum := 0, sha1.New()
			for range times {
				request, _ := http.NewRequest(method, url+path, body)
				if len(header) > 0 {
					request.Header.Set(header[0], header[1])
				}
				answer, err := http.DefaultClient.Do(request)
				if err != nil {
					fmt.Println(url, operation, strings.ReplaceAll(err.Error(), " ", "-"), "-")
					return
				}
				_, err = io.Copy(sum, answer.Body)
				if err != nil {
					fmt.Println(url, operation, strings.ReplaceAll(err.Error(), " ", "-"), "-")
				}
				answer.Body.Close()
				status = answer.StatusCode
			}
			fmt.Printf("%s %s %d %x\n", url, operation, status, sum.Sum(nil))
		}
		tell("get", "GET", "/hello", nil, 1)
		tell("head", "HEAD", "/hello", nil, 1)
		tell("post", "POST", "/echo", bytes.NewReader(upload), 1)
		tell("chunked", "POST", "/echo", unsized(), 1)
		tell("continue", "POST", "/echo", bytes.NewReader(upload), 1, "Expect", "100-continue")
		tell("kept", "GET", "/hello", nil, 20)
		tell("big", "GET", "/big", nil, 1)
		tell("missing", "GET", "/missing", nil, 1)
		tell("failing", "GET", "/failing", nil, 1)
	}
}
