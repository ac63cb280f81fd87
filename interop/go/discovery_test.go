// Package interop uses the registry through HashiCorp's own client, unchanged. CONSUL_HTTP_ADDR says
// where the registry is, SERVICE where a Mizan service listens that answers GET /health.
package interop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

// Longer than anything takes on a loaded machine; only a failing test waits for it.
const patience = 30 * time.Second

func client(t *testing.T) *api.Client {
	t.Helper()
	client, err := api.NewClient(api.DefaultConfig())
	must(t, err)
	return client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func service(t *testing.T) (string, int) {
	t.Helper()
	host, port, found := strings.Cut(os.Getenv("SERVICE"), ":")
	if !found {
		t.Fatal("SERVICE is not HOST:PORT")
	}
	number, err := strconv.Atoi(port)
	must(t, err)
	return host, number
}

func register(t *testing.T, c *api.Client, id, name string, port int, check *api.AgentServiceCheck) {
	t.Helper()
	must(t, c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: name, Address: "127.0.0.1", Port: port,
		Tags: []string{"v1"}, Meta: map[string]string{"env": "interop"}, Check: check,
	}))
	t.Cleanup(func() { _ = c.Agent().ServiceDeregister(id) })
}

// Asks, blocking, until as many pass.
func untilPassing(t *testing.T, c *api.Client, name string, want int) []*api.ServiceEntry {
	t.Helper()
	var index uint64
	for end := time.Now().Add(patience); time.Now().Before(end); {
		entries, meta, err := c.Health().Service(name, "", true, &api.QueryOptions{
			WaitIndex: index, WaitTime: 5 * time.Second,
		})
		must(t, err)
		if !meta.KnownLeader || meta.LastIndex == 0 {
			t.Fatalf("odd headers: %+v", meta)
		}
		if len(entries) == want {
			return entries
		}
		index = meta.LastIndex
	}
	t.Fatalf("%s: never %d passing", name, want)
	return nil
}

func TestAnHTTPCheckDecidesWhoIsDiscovered(t *testing.T) {
	c := client(t)
	host, port := service(t)
	check := func(port int) *api.AgentServiceCheck {
		return &api.AgentServiceCheck{
			HTTP:     fmt.Sprintf("http://%s:%d/health", host, port),
			Interval: "10s", Timeout: "2s",
			DeregisterCriticalServiceAfter: "1h",
		}
	}
	register(t, c, "web-1", "web", port, check(port))
	// Nobody listens there.
	register(t, c, "web-2", "web", 1, check(1))
	entries := untilPassing(t, c, "web", 1)
	found := entries[0]
	if found.Service.ID != "web-1" || found.Service.Port != port || found.Service.Meta["env"] != "interop" {
		t.Fatalf("not what was registered: %+v", found.Service)
	}
	if found.Checks.AggregatedStatus() != api.HealthPassing || found.Node.ID == "" {
		t.Fatalf("%+v", found.Checks)
	}
	all, _, err := c.Health().Service("web", "v1", false, nil)
	must(t, err)
	if len(all) != 2 {
		t.Fatalf("%d instances", len(all))
	}
	filtered, _, err := c.Health().Service("web", "", false, &api.QueryOptions{
		Filter: `Service.Meta.env == "interop" and Checks.Status != "passing"`,
	})
	must(t, err)
	for _, entry := range filtered {
		if entry.Service.ID != "web-2" {
			t.Fatalf("the filter let %s through", entry.Service.ID)
		}
	}
}

func TestWatchPlansFollowChanges(t *testing.T) {
	c := client(t)
	register(t, c, "bystander", "bystander", 1, nil)
	plans := map[string]map[string]any{
		"service":       {"type": "service", "service": "watched", "passingonly": true},
		"services":      {"type": "services"},
		"checks":        {"type": "checks", "state": "any"},
		"nodes":         {"type": "nodes"},
		"agent_service": {"type": "agent_service", "service_id": "bystander"},
	}
	heard := make(map[string]chan any)
	for name, params := range plans {
		plan, err := watch.Parse(params)
		must(t, err)
		results := make(chan any, 64)
		heard[name] = results
		plan.Handler = func(_ uint64, result any) { results <- result }
		done := make(chan error, 1)
		go func() { done <- plan.Run(os.Getenv("CONSUL_HTTP_ADDR")) }()
		t.Cleanup(func() {
			plan.Stop()
			<-done
		})
	}
	until := func(name string, holds func(any) bool) {
		t.Helper()
		end := time.After(patience)
		for {
			select {
			case result := <-heard[name]:
				if holds(result) {
					return
				}
			case <-end:
				t.Fatalf("the plan %s never told", name)
			}
		}
	}
	entries := func(want int) func(any) bool {
		return func(result any) bool { return len(result.([]*api.ServiceEntry)) == want }
	}
	until("service", entries(0))
	until("nodes", func(result any) bool { return len(result.([]*api.Node)) == 1 })
	until("agent_service", func(result any) bool { return result.(*api.AgentService).Port == 1 })
	register(t, c, "watched-1", "watched", 80, &api.AgentServiceCheck{TTL: "1h"})
	must(t, c.Agent().UpdateTTL("service:watched-1", "fine", api.HealthPassing))
	until("service", entries(1))
	until("services", func(result any) bool { return result.(map[string][]string)["watched"] != nil })
	until("checks", func(result any) bool {
		for _, check := range result.([]*api.HealthCheck) {
			if check.CheckID == "service:watched-1" && check.Status == api.HealthPassing {
				return true
			}
		}
		return false
	})
	register(t, c, "bystander", "bystander", 2, nil)
	until("agent_service", func(result any) bool { return result.(*api.AgentService).Port == 2 })
	must(t, c.Agent().UpdateTTL("service:watched-1", "broken", api.HealthCritical))
	until("service", entries(0))
}

func TestTTLChecksSayWhatTheyAreTold(t *testing.T) {
	c := client(t)
	register(t, c, "ttl-1", "ttl", 80, &api.AgentServiceCheck{TTL: "1h"})
	for _, status := range []string{api.HealthPassing, api.HealthWarning, api.HealthCritical, api.HealthPassing} {
		must(t, c.Agent().UpdateTTL("service:ttl-1", "as told", status))
		checks, _, err := c.Health().Checks("ttl", nil)
		must(t, err)
		if len(checks) != 1 || checks[0].Status != status || checks[0].Output != "as told" {
			t.Fatalf("%+v", checks)
		}
		aggregated, info, err := c.Agent().AgentHealthServiceByID("ttl-1")
		must(t, err)
		if aggregated != status || info.Service.ID != "ttl-1" {
			t.Fatalf("%s: %+v", aggregated, info)
		}
	}
	err := c.Agent().UpdateTTL("service:nobody", "", api.HealthPassing)
	if err == nil || !strings.Contains(err.Error(), "Unknown check ID") {
		t.Fatalf("%v", err)
	}
	// One that nobody reports in time.
	register(t, c, "ttl-2", "short", 80, &api.AgentServiceCheck{TTL: "1s", Status: api.HealthPassing})
	untilPassing(t, c, "short", 0)
	must(t, c.Agent().CheckRegister(&api.AgentCheckRegistration{
		ID: "further", Name: "further", ServiceID: "ttl-1",
		AgentServiceCheck: api.AgentServiceCheck{TTL: "1h"},
	}))
	untilPassing(t, c, "ttl", 0)
	must(t, c.Agent().CheckDeregister("further"))
	untilPassing(t, c, "ttl", 1)
}

func TestMaintenanceTakesOutAndPutsBack(t *testing.T) {
	c := client(t)
	register(t, c, "out-1", "out", 80, nil)
	untilPassing(t, c, "out", 1)
	must(t, c.Agent().EnableServiceMaintenance("out-1", "new disk"))
	untilPassing(t, c, "out", 0)
	entries, _, err := c.Health().Service("out", "", false, nil)
	must(t, err)
	if entries[0].Checks.AggregatedStatus() != api.HealthMaint {
		t.Fatalf("%+v", entries[0].Checks)
	}
	must(t, c.Agent().DisableServiceMaintenance("out-1"))
	untilPassing(t, c, "out", 1)
	// Of every client's agent: it is shown, and takes nobody's services out.
	must(t, c.Agent().EnableNodeMaintenance("moving"))
	checks, err := c.Agent().Checks()
	must(t, err)
	if checks["_node_maintenance"].Status != api.HealthCritical {
		t.Fatalf("%+v", checks)
	}
	untilPassing(t, c, "out", 1)
	must(t, c.Agent().DisableNodeMaintenance())
	untilPassing(t, c, "out", 1)
	must(t, c.Agent().ServiceDeregister("out-1"))
	untilPassing(t, c, "out", 0)
	services, _, err := c.Catalog().Services(nil)
	must(t, err)
	if _, there := services["out"]; there {
		t.Fatalf("%v", services)
	}
}

func TestTheCatalogueIsWritten(t *testing.T) {
	c := client(t)
	registration := &api.CatalogRegistration{
		Node: "elsewhere", Address: "10.0.0.7", NodeMeta: map[string]string{"rack": "7"},
		Service: &api.AgentService{ID: "db-1", Service: "db", Port: 5432},
		Checks: api.HealthChecks{
			{Node: "elsewhere", CheckID: "db-alive", Name: "alive", ServiceID: "db-1", Status: api.HealthPassing},
		},
	}
	_, err := c.Catalog().Register(registration, nil)
	must(t, err)
	entries := untilPassing(t, c, "db", 1)
	if entries[0].Node.Address != "10.0.0.7" || entries[0].Service.Port != 5432 {
		t.Fatalf("%+v", entries[0])
	}
	services, _, err := c.Catalog().Service("db", "", &api.QueryOptions{NodeMeta: map[string]string{"rack": "7"}})
	must(t, err)
	if len(services) != 1 || services[0].ServiceID != "db-1" {
		t.Fatalf("%+v", services)
	}
	registration.Checks[0].Status = api.HealthCritical
	_, err = c.Catalog().Register(registration, nil)
	must(t, err)
	untilPassing(t, c, "db", 0)
	_, err = c.Catalog().Deregister(&api.CatalogDeregistration{Node: "elsewhere"}, nil)
	must(t, err)
	node, _, err := c.Catalog().Node("elsewhere", nil)
	must(t, err)
	if node != nil && node.Node != nil {
		t.Fatalf("%+v", node)
	}
}

func TestTheAgentKnowsItself(t *testing.T) {
	c := client(t)
	name, err := c.Agent().NodeName()
	must(t, err)
	leader, err := c.Status().Leader()
	must(t, err)
	datacenters, err := c.Catalog().Datacenters()
	must(t, err)
	members, err := c.Agent().Members(false)
	must(t, err)
	if name == "" || leader == "" || len(datacenters) != 1 || len(members) != 1 {
		t.Fatal(name, leader, datacenters, members)
	}
	// Not 404, which is "no such key" to this client.
	if _, _, err := c.KV().Get("key", nil); err == nil {
		t.Fatal("there is no key-value store, and that is said")
	}
}
