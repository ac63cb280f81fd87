//! What a person sees of the registry, and steers it with: each command as text and as JSON.

use std::process::{Child, Output, Stdio};

use e2e::{Lines, Up};
use serde_json::Value;

fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).unwrap()
}

/// The line of an instance or a service in a table.
fn row(table: &str, name: &str) -> String {
    let mut rows = table.lines().filter(|line| line.starts_with(name));
    rows.next().unwrap_or_default().to_owned()
}

/// A command that goes on until it is killed.
struct Following(Child, Lines);

impl Following {
    fn start(up: &Up, args: &[&str]) -> Self {
        let mut command = up.command(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = Lines::of(child.stdout.take().unwrap());
        Self(child, lines)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_person_sees_and_steers_the_registry() {
    let up = Up::start();
    let watch = Following::start(&up, &["watch", "payment"]);
    let watch_json = Following::start(&up, &["watch", "--json"]);
    let head = watch.1.next();
    assert!(head.starts_with("INSTANCE"), "{head}");
    watch.1.wait_for(|line| line.starts_with("payment-2 "));

    up.says(&["instances", "payment"], |table| {
        row(table, "payment-1").ends_with("passing")
    });
    let nobody = text(&up.run(&["instances", "nobody"]));
    assert_eq!(nobody, "no instances of nobody\n");
    let nobody = json(&up.run(&["instances", "nobody", "--json"]));
    assert_eq!(nobody["instances"], Value::Array(Vec::new()));

    let drained = text(&up.run(&["drain", "payment-1", "--reason", "new disk"]));
    assert_eq!(drained, "payment-1 is out: new disk\n");
    watch.1.wait_for(|line| {
        line.starts_with("~ payment-1 ") && line.ends_with(" maintenance new disk")
    });
    watch_json.1.wait_for(|line| {
        let listing: Value = serde_json::from_str(line).unwrap();
        let first = &listing["instances"][0];
        first["instance_id"] == "payment-1" && first["status"] == "maintenance"
    });
    let table = text(&up.run(&["instances", "payment"]));
    assert!(row(&table, "payment-1").ends_with("new disk"), "{table}");
    let table = text(&up.run(&["services"]));
    let payment = row(&table, "payment");
    assert!(payment.ends_with("1 in maintenance"), "{table}");
    let passing = &["instances", "payment", "--passing", "--json"];
    let passing: Value = serde_json::from_str(&up.says(passing, |text| {
        let listing: Value = serde_json::from_str(text).unwrap();
        listing["instances"].as_array().unwrap().len() == 1
    }))
    .unwrap();
    assert_eq!(passing["instances"][0]["instance_id"], "payment-2");

    let back = json(&up.run(&["maint", "off", "payment-1", "--json"]));
    assert_eq!(back["maintenance"], false);
    watch.1.wait_for(|line| line.ends_with(" passing"));
    let again = json(&up.run(&["drain", "payment-1", "--json"]));
    assert_eq!(again["instance_id"], "payment-1");
    assert_eq!(again["reason"], "drained by hand");
    let back = text(&up.run(&["maint", "off", "payment-1"]));
    assert_eq!(back, "payment-1 is back\n");

    let node = json(&up.run(&["instances", "payment", "--json"]));
    let node = node["instances"][0]["node"].as_str().unwrap().to_owned();
    let out = text(&up.run(&["maint", "on", "--node", &node]));
    assert_eq!(out, format!("node {node} is out: maintenance\n"));
    let services = json(&up.run(&["services", "--json"]));
    for service in services.as_array().unwrap() {
        assert_eq!(service["passing"], 0, "{service}");
        assert_eq!(service["maintenance"], service["instances"], "{service}");
    }
    let back = json(&up.run(&["maint", "off", "--node", &node, "--json"]));
    assert_eq!(back["node"], Value::String(node));

    let unknown = up.run(&["drain", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        said.lines().last().unwrap().contains("instance_id"),
        "{said}"
    );

    let neither = String::from_utf8(up.run(&["maint", "on"]).stderr).unwrap();
    assert!(neither.contains("<ID|--node <NODE>>"), "{neither}");
    let unknown = up.run(&["maint", "on", "--node", "nowhere"]);
    assert_eq!(unknown.status.code(), Some(1));

    let top = Following::start(&up, &["top"]);
    let summary = "4 services, 8 of 8 instances passing";
    top.1.wait_for(|line| line == summary);
    let table = top.1.wait_for(|line| line.starts_with("zakat "));
    assert!(table.ends_with('2'), "{table}");
    let top = Following::start(&up, &["top", "--json"]);
    let line: Value = serde_json::from_str(&top.1.next()).unwrap();
    assert_eq!(line[3]["service"], "zakat");
    assert_eq!(up.stop().0, Some(0));
}

#[test]
fn who_follows_the_registry_waits_for_it_to_come_back() {
    let up = Up::start();
    let watch = Following::start(&up, &["watch", "zakat", "--json"]);
    let top = Following::start(&up, &["top"]);
    watch.1.wait_for(|line| line.contains("zakat-2"));
    top.1.wait_for(|line| line.starts_with("zakat "));
    // `mizan up` starts it again.
    up.signal("registry", e2e::Signal::KILL);
    let died = |line: &str| line.contains("registry died (signal: 9");
    up.stderr.wait_for(died);
    let back = |line: &str| line.contains("registry runs again");
    up.stderr.wait_for(back);
    // A state that stays: whoever watches again late sees it too.
    text(&up.run(&["drain", "zakat-2"]));
    watch.1.wait_for(|line| {
        let listing: Value = serde_json::from_str(line).unwrap();
        listing["instances"][1]["status"] == "maintenance"
    });
    top.1
        .wait_for(|line| line.starts_with("zakat ") && line.ends_with("1 in maintenance"));
    assert_eq!(up.stop().0, Some(0));
}
