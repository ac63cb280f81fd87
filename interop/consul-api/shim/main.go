// Stands in for the program `consul` that the tests of consul/api start: runs Mizan's registry behind the
// port that they name. It answers one request itself: they wait for the roots of a certificate authority,
// which the registry does not have, before they begin.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

const roots = `{"ActiveRootID": "none", "TrustDomain": "none", "Roots": [{"ID": "none"}]}`

// The version of Consul whose answers are expected.
const version = "1.21.0"

func main() {
	if len(os.Args) < 4 || os.Args[1] != "agent" {
		// `consul version -format=json`
		fmt.Printf(`{"Version": %q}`, version)
		return
	}
	text, err := os.ReadFile(os.Args[3])
	fatal(err)
	var config struct {
		NodeID   string            `json:"node_id"`
		NodeName string            `json:"node_name"`
		NodeMeta map[string]string `json:"node_meta"`
		DataDir  string            `json:"data_dir"`
		Ports    struct {
			HTTP int `json:"http"`
		} `json:"ports"`
	}
	fatal(json.Unmarshal(text, &config))

	address := free()
	// The service `consul` is in no list unless it is asked for, and a node has the pairs that it is given.
	arguments := []string{"registry", "--listen", address, "--data", config.DataDir, "--node", config.NodeName,
		"--node-id", config.NodeID, "--node-meta", "consul-network-segment:", "--node-meta", "consul-version:" + version,
		"--consul-service"}
	for key, value := range config.NodeMeta {
		arguments = append(arguments, "--node-meta", key+":"+value)
	}
	registry := exec.Command(os.Getenv("MIZAN"), arguments...)
	registry.Stdout, registry.Stderr = os.Stdout, os.Stderr
	fatal(registry.Start())
	ended := make(chan error, 1)
	go func() { ended <- registry.Wait() }()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if connection, err := net.Dial("tcp", address); err == nil {
			connection.Close()
			break
		}
	}

	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	proxy.FlushInterval = -1
	serve := func(answer http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/v1/agent/connect/ca/roots" {
			fmt.Fprint(answer, roots)
			return
		}
		proxy.ServeHTTP(answer, request)
	}
	go func() {
		log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", config.Ports.HTTP), http.HandlerFunc(serve)))
	}()

	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM, syscall.SIGABRT)
	select {
	case <-asked:
		registry.Process.Kill()
		<-ended
	case err := <-ended:
		fatal(err)
		log.Fatal("the registry ended by itself")
	}
}

// An address that nobody listens on.
func free() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(err)
	defer listener.Close()
	return listener.Addr().String()
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
