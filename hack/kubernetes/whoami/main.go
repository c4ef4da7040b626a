// Whoami answers every request with the name and addresses of its host and what it received, as traefik/whoami does.
// On a cluster without a registry it stands in for that image. /health answers 200.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	port := flag.String("port", "80", "the port to listen on, of all addresses")
	flag.Parse()
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", answer)
	log.Fatal(http.ListenAndServe(net.JoinHostPort("", *port), nil))
}

func answer(response http.ResponseWriter, request *http.Request) {
	host, _ := os.Hostname()
	fmt.Fprintln(response, "Hostname:", host)
	addresses, _ := net.InterfaceAddrs()
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok {
			fmt.Fprintln(response, "IP:", network.IP)
		}
	}
	fmt.Fprintln(response, "RemoteAddr:", request.RemoteAddr)
	request.Write(response)
}
