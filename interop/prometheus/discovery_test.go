// Package interop runs Prometheus's own discovery, unchanged, against the registry: what
// consul_sd_configs finds is what Prometheus scrapes. MIZAN is the binary.
package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"gopkg.in/yaml.v2"
)

// Longer than anything takes on a loaded machine; only a failing test waits for it.
const patience = 90 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The registry as a process, on this address, keeping what it knows in this folder.
func start(t *testing.T, listen, data string) (*exec.Cmd, string) {
	t.Helper()
	registry := exec.Command(os.Getenv("MIZAN"), "registry", "--listen", listen, "--data", data, "--log-format", "json")
	stderr, err := registry.StderrPipe()
	must(t, err)
	must(t, registry.Start())
	t.Cleanup(func() { _ = registry.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var line struct{ Message, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			// Read to the end, or the registry would wait for a reader.
			go func() {
				for lines.Scan() {
				}
			}()
			return registry, line.Address
		}
	}
	t.Fatal("the registry does not serve")
	return nil, ""
}

func put(t *testing.T, address, path, body string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPut, "http://"+address+"/v1/agent/service/"+path, strings.NewReader(body))
	must(t, err)
	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(path, answer.Status)
	}
}

func register(t *testing.T, address, id string) {
	t.Helper()
	put(t, address, "register", fmt.Sprintf(
		`{"Name": %q, "ID": %q, "Address": "127.0.0.1", "Port": 8080, "Tags": ["scrape"], "Meta": {"team": "interop"}}`, id, id))
}

func TestTargetsAreDiscoveredAndFollowed(t *testing.T) {
	data := t.TempDir()
	registry, address := start(t, "127.0.0.1:0", data)
	register(t, address, "first")
	// Not one of those that are asked for.
	put(t, address, "register", `{"Name": "other", "Port": 1}`)

	config := consul.DefaultSDConfig
	must(t, yaml.UnmarshalStrict([]byte(fmt.Sprintf(
		"server: %s\ntags: [scrape]\nrefresh_interval: 1s\n", address)), &config))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	metrics := prometheus.NewRegistry()
	mechanisms, err := discovery.CreateAndRegisterSDMetrics(metrics)
	must(t, err)
	manager := discovery.NewManager(ctx, log.NewNopLogger(), metrics, mechanisms)
	must(t, manager.ApplyConfig(map[string]discovery.Configs{"job": {&config}}))
	go func() { _ = manager.Run() }()

	// Waits until these are what would be scraped.
	until := func(want ...string) {
		t.Helper()
		var found []string
		for end := time.After(patience); ; {
			select {
			case groups := <-manager.SyncCh():
				found = nil
				for _, group := range groups["job"] {
					for _, target := range group.Targets {
						name := string(group.Labels[model.LabelName("__meta_consul_service")])
						if target[model.AddressLabel] != "127.0.0.1:8080" ||
							target["__meta_consul_service_metadata_team"] != "interop" {
							t.Fatalf("%v", target)
						}
						found = append(found, name)
					}
				}
				slices.Sort(found)
				if slices.Equal(found, want) {
					return
				}
			case <-end:
				t.Fatalf("never %v; last %v", want, found)
			}
		}
	}
	until("first")
	register(t, address, "second")
	until("first", "second")
	put(t, address, "deregister/first", "")
	until("second")
	must(t, registry.Process.Signal(syscall.SIGTERM))
	_ = registry.Wait()
	start(t, address, data)
	register(t, address, "third")
	until("second", "third")
}
