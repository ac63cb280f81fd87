"""The registry through py-consul, unchanged."""

import os
import time

import consul

# Longer than anything takes on a loaded machine; only a failure waits for it.
PATIENCE = 30

host, port = os.environ["CONSUL_HTTP_ADDR"].split(":")
service_host, service_port = os.environ["SERVICE"].split(":")
c = consul.Consul(host=host, port=int(port))


def until(read, holds, what):
    """Asks again, blocking, until the answer is as wanted."""
    index, end = None, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        index, found = read(index)
        if holds(found):
            return found
    raise SystemExit(f"never: {what}")


def passing(name, want):
    return until(
        lambda index: c.health.service(name, index=index, wait="5s", passing=True),
        lambda found: len(found) == want,
        f"{want} passing of {name}",
    )


def an_http_check_decides():
    check = consul.Check.http(
        f"http://{service_host}:{service_port}/health", interval="10s", timeout="2s", deregister="1h"
    )
    dead = consul.Check.http("http://127.0.0.1:1/health", interval="10s", timeout="2s")
    for instance, its, to in (("py-1", check, service_port), ("py-2", dead, "1")):
        assert c.agent.service.register(
            "py", service_id=instance, address="127.0.0.1", port=int(to), tags=["v1"],
            meta={"env": "interop"}, check=its,
        )
    (found,) = passing("py", 1)
    assert found["Service"]["ID"] == "py-1", found
    assert found["Service"]["Meta"] == {"env": "interop"}, found
    _, everything = c.health.service("py", tag="v1")
    assert len(everything) == 2, everything
    _, none = c.health.service("py", tag="v2")
    assert none == [], none
    for instance in ("py-1", "py-2"):
        assert c.agent.service.deregister(instance)
    passing("py", 0)


def a_ttl_check_says_what_it_is_told():
    assert c.agent.service.register("py-ttl", port=80, check=consul.Check.ttl("1h"))
    passing("py-ttl", 0)
    assert c.agent.check.ttl_pass("service:py-ttl", "fine")
    passing("py-ttl", 1)
    assert c.agent.check.ttl_warn("service:py-ttl", "hm")
    passing("py-ttl", 0)
    assert c.agent.check.ttl_fail("service:py-ttl", "broken")
    _, checks = c.health.checks("py-ttl")
    assert [(one["Status"], one["Output"]) for one in checks] == [("critical", "broken")], checks
    assert c.agent.check.register("more", check=consul.Check.ttl("1h"), service_id="py-ttl")
    assert "more" in c.agent.checks()
    assert c.agent.check.deregister("more")
    assert "more" not in c.agent.checks()
    assert c.agent.service.deregister("py-ttl")


def maintenance_takes_out_and_puts_back():
    assert c.agent.service.register("py-out", port=80)
    passing("py-out", 1)
    assert c.agent.service.maintenance("py-out", "true", "new disk")
    passing("py-out", 0)
    assert c.agent.service.maintenance("py-out", "false")
    passing("py-out", 1)
    # Of every client's agent: it is shown, and takes nobody's services out.
    assert c.agent.maintenance("true", "moving")
    assert c.agent.checks()["_node_maintenance"]["Status"] == "critical"
    passing("py-out", 1)
    assert c.agent.maintenance("false")
    passing("py-out", 1)
    assert c.agent.service.deregister("py-out")


def the_catalogue_is_read_and_written():
    assert c.catalog.register(
        "py-host", "10.0.0.8", service={"Service": "py-db", "ID": "py-db-1", "Port": 5432},
        check={"Name": "alive", "ServiceID": "py-db-1", "Status": "passing"},
    )
    (found,) = passing("py-db", 1)
    assert found["Node"]["Address"] == "10.0.0.8", found
    _, services = c.catalog.services()
    assert services["py-db"] == [], services
    _, nodes = c.catalog.nodes()
    assert "py-host" in [node["Node"] for node in nodes], nodes
    _, node = c.catalog.node("py-host")
    assert list(node["Services"]) == ["py-db-1"], node
    _, checks = c.health.state("passing")
    assert "alive" in [check["CheckID"] for check in checks], checks
    assert c.catalog.deregister("py-host")
    passing("py-db", 0)


def the_agent_knows_itself():
    assert c.agent.self()["Config"]["Datacenter"] == "dc1"
    assert c.catalog.datacenters() == ["dc1"]
    assert c.status.leader()
    assert c.agent.members()


for case in (
    an_http_check_decides,
    a_ttl_check_says_what_it_is_told,
    maintenance_takes_out_and_puts_back,
    the_catalogue_is_read_and_written,
    the_agent_knows_itself,
):
    case()
    print(f"ok {case.__name__}")
