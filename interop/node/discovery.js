// The registry through npm's consul and its watches, unchanged.
"use strict";

const assert = require("node:assert");
const Consul = require("consul");

// Longer than anything takes on a loaded machine; only a failure waits for it.
const PATIENCE = 30_000;

const [host, port] = process.env.CONSUL_HTTP_ADDR.split(":");
const [serviceHost, servicePort] = process.env.SERVICE.split(":");
const consul = new Consul({ host, port: Number(port) });

// Watches, and resolves once a result is as wanted; each further condition waits for a later one.
function follow(method, options) {
  const watch = consul.watch({ method, options, backoffFactor: 100 });
  let wanted = null;
  let last;
  const look = () => {
    if (wanted && last !== undefined && wanted.holds(last)) {
      wanted.resolve(last);
      wanted = null;
    }
  };
  watch.on("change", (data) => {
    last = data;
    look();
  });
  watch.on("error", (error) => {
    if (wanted) wanted.reject(error);
  });
  return {
    until: (what, holds) =>
      new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`never: ${what}`)), PATIENCE);
        const settle = (done) => (value) => {
          clearTimeout(late);
          done(value);
        };
        wanted = { holds, resolve: settle(resolve), reject: settle(reject) };
        look();
      }),
    end: () => watch.end(),
  };
}

async function watchesFollowChanges() {
  const service = follow(consul.health.service, { service: "js", passing: true });
  const services = follow(consul.catalog.service.list, {});
  const checks = follow(consul.health.state, { state: "any" });
  await service.until("nobody", (found) => found.length === 0);
  await consul.agent.service.register({
    name: "js", id: "js-1", address: "127.0.0.1", port: Number(servicePort), tags: ["v1"],
    check: { http: `http://${serviceHost}:${servicePort}/health`, interval: "10s", timeout: "2s" },
  });
  const found = await service.until("one passing", (found) => found.length === 1);
  assert.strictEqual(found[0].Service.ID, "js-1");
  await services.until("its tags", (found) => found.js && found.js[0] === "v1");
  await checks.until("its check", (found) =>
    found.some((check) => check.CheckID === "service:js-1" && check.Status === "passing"));
  await consul.agent.service.maintenance({ id: "js-1", enable: true, reason: "new disk" });
  await service.until("taken out", (found) => found.length === 0);
  await consul.agent.service.maintenance({ id: "js-1", enable: false });
  await service.until("put back", (found) => found.length === 1);
  await consul.agent.service.deregister("js-1");
  await service.until("gone", (found) => found.length === 0);
  await services.until("unlisted", (found) => !found.js);
  for (const each of [service, services, checks]) each.end();
}

async function ttlChecksSayWhatTheyAreTold() {
  await consul.agent.service.register({ name: "js-ttl", port: 80, check: { ttl: "1h" } });
  for (const [report, status] of [["pass", "passing"], ["warn", "warning"], ["fail", "critical"]]) {
    await consul.agent.check[report]({ id: "service:js-ttl", note: "as told" });
    const checks = await consul.health.checks("js-ttl");
    assert.deepStrictEqual(checks.map((one) => [one.Status, one.Output]), [[status, "as told"]]);
  }
  await consul.agent.check.register({ name: "more", serviceid: "js-ttl", ttl: "1h" });
  assert.ok((await consul.agent.check.list()).more);
  await consul.agent.check.deregister("more");
  await consul.agent.service.deregister("js-ttl");
  await assert.rejects(consul.agent.check.pass("service:js-ttl"), /not found|Unknown check/i);
}

async function theRestIsRead() {
  assert.strictEqual((await consul.agent.self()).Config.Datacenter, "dc1");
  assert.deepStrictEqual(await consul.catalog.datacenters(), ["dc1"]);
  assert.strictEqual((await consul.catalog.node.list()).length, 1);
  assert.ok(await consul.status.leader());
  assert.strictEqual((await consul.agent.members()).length, 1);
}

(async () => {
  for (const run of [watchesFollowChanges, ttlChecksSayWhatTheyAreTold, theRestIsRead]) {
    await run();
    console.log(`ok ${run.name}`);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
