//! Looking at the registry and steering it: what is asked for, what is printed where, and the code.

use std::{process::Stdio, time::Duration};

use mizan::Connection;
use mizan_contracts::registry::v1::{
    HealthCheck, Instance, NoCheck, RegisterRequest, health_check::Kind,
    registry_service_client::RegistryServiceClient,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::world::World;

/// Registers an instance that passes at once and is never polled.
async fn register(world: &World, id: &str, also: Instance) {
    let connection = Connection::open(&world.registry, Duration::from_secs(60)).await;
    let check = HealthCheck {
        kind: Some(Kind::None(NoCheck {})),
        ..HealthCheck::default()
    };
    let instance = Instance {
        instance_id: id.to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 1,
        check: Some(check),
        ..also
    };
    let request = RegisterRequest {
        instance: Some(instance),
        ..RegisterRequest::default()
    };
    let mut client = RegistryServiceClient::new(connection.unwrap());
    client.register(request).await.unwrap();
}

fn of(service: &str) -> Instance {
    Instance {
        service: service.to_owned(),
        ..Instance::default()
    }
}

/// The ids of the instances in a listing.
async fn ids(world: &World, flags: &[&str]) -> Vec<String> {
    let args = [&["instances", "a", "--json"][..], flags].concat();
    let told = world.run(&args).await;
    assert_eq!(told.code(), Some(0), "{}", told.err());
    let listing = told.json();
    let all = listing["instances"].as_array().unwrap();
    let id = |instance: &serde_json::Value| instance["instance_id"].as_str().unwrap().to_owned();
    let mut ids: Vec<_> = all.iter().map(id).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_filter_of_instances_leaves_out_who_does_not_fit() {
    let world = World::new().await;
    register(&world, "plain", of("a")).await;
    let tagged = Instance {
        tags: vec!["x".to_owned(), "y".to_owned()],
        zone: "z".to_owned(),
        metadata: [("k".to_owned(), "v=w".to_owned())].into(),
        ..of("a")
    };
    register(&world, "rich", tagged).await;
    register(&world, "other", of("b")).await;
    assert_eq!(ids(&world, &[]).await, ["plain", "rich"]);
    for flags in [
        &["--tag", "x"][..],
        &["--tag", "x", "--tag", "y"],
        &["--zone", "z"],
        &["--metadata", "k=v=w"],
    ] {
        assert_eq!(ids(&world, flags).await, ["rich"], "{flags:?}");
    }
    for flags in [
        &["--tag", "x", "--tag", "q"][..],
        &["--zone", "q"],
        &["--metadata", "k=v"],
    ] {
        assert!(ids(&world, flags).await.is_empty(), "{flags:?}");
    }
    let malformed = world.run(&["instances", "a", "--metadata", "k"]).await;
    assert_eq!(malformed.code(), Some(2));
    assert!(malformed.err().contains("is not KEY=VALUE"));

    let out = world.run(&["drain", "plain", "--reason", "new disk"]).await;
    assert_eq!(
        (out.code(), &*out.out()),
        (Some(0), "plain is out: new disk\n")
    );
    assert_eq!(ids(&world, &["--passing"]).await, ["rich"]);
    assert_eq!(ids(&world, &[]).await, ["plain", "rich"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_of_those_alone_who_fit_its_filter() {
    let world = World::new().await;
    register(&world, "plain", of("a")).await;
    let tagged = Instance {
        tags: vec!["x".to_owned()],
        ..of("a")
    };
    register(&world, "rich", tagged).await;
    let mut watch = Command::new(env!("CARGO_BIN_EXE_mizan"))
        .args(["watch", "a", "--tag", "x", "--json"])
        .args(["--registry", &world.registry])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let first = timeout(Duration::from_secs(120), lines.next_line()).await;
    let first = first.expect("it tells nothing").unwrap().unwrap();
    let listing: serde_json::Value = serde_json::from_str(&first).unwrap();
    let told = listing["instances"].as_array().unwrap().iter();
    let told: Vec<_> = told.map(|one| &one["instance_id"]).collect();
    assert_eq!(told, ["rich"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_steered_is_told_as_text_or_as_json_and_what_is_not_there_fails() {
    let world = World::new().await;
    register(&world, "one", of("a")).await;
    let elsewhere = Instance {
        node: "far".to_owned(),
        ..of("a")
    };
    register(&world, "two", elsewhere).await;
    for (args, text, json) in [
        (
            &["drain", "one"][..],
            "one is out: drained by hand\n",
            r#"{"instance_id":"one","maintenance":true,"reason":"drained by hand"}"#,
        ),
        (
            &["maint", "off", "one", "--reason", "unsaid"],
            "one is back\n",
            r#"{"instance_id":"one","maintenance":false}"#,
        ),
        (
            &["maint", "on", "one"],
            "one is out: maintenance\n",
            r#"{"instance_id":"one","maintenance":true,"reason":"maintenance"}"#,
        ),
        (
            &["drain", "two", "--node", "far"],
            "two is out: drained by hand\n",
            r#"{"instance_id":"two","node":"far","maintenance":true,"reason":"drained by hand"}"#,
        ),
        (
            &["maint", "on", "--node", "far", "--reason", "moved"],
            "node far is out: moved\n",
            r#"{"node":"far","maintenance":true,"reason":"moved"}"#,
        ),
    ] {
        let told = world.run(args).await;
        assert_eq!(
            (told.code(), &*told.out()),
            (Some(0), text),
            "{}",
            told.err()
        );
        let told = world.run(&[args, &["--json"]].concat()).await;
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!((told.code(), told.json()), (Some(0), expected));
    }

    // Not on the registry's own node, and what is nowhere: one line, nothing on standard output.
    for args in [
        &["deregister", "two"][..],
        &["deregister", "one", "--node", "far"],
        &["deregister", "none"],
        &["drain", "none"],
        &["drain", "one", "--node", "far"],
        &["maint", "on", "--node", "none"],
    ] {
        let told = world.run(args).await;
        assert_eq!((told.code(), &*told.out()), (Some(1), ""), "{args:?}");
        assert!(told.err().starts_with("mizan: "), "{}", told.err());
        assert_eq!(told.err().lines().count(), 1, "{}", told.err());
    }
    assert_eq!(ids(&world, &[]).await, ["one", "two"]);
    let told = world
        .run(&["deregister", "two", "--node", "far", "--json"])
        .await;
    assert_eq!(
        told.json(),
        serde_json::json!({"instance_id": "two", "node": "far", "removed": true, "beating": false})
    );
    let told = world.run(&["deregister", "one"]).await;
    assert_eq!((told.code(), &*told.out()), (Some(0), "one is removed\n"));
    assert!(ids(&world, &[]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_services_are_listed_however_many_there_are() {
    let world = World::new().await;
    let names: Vec<_> = (0..130).map(|number| format!("s-{number:03}")).collect();
    for name in &names {
        register(&world, name, of(name)).await;
    }
    let told = world.run(&["services", "--json"]).await;
    let listed = told.json();
    let all = listed.as_array().unwrap();
    let listed: Vec<_> = all.iter().map(|s| s["service"].as_str().unwrap()).collect();
    assert_eq!(listed, names);
    // As text, and of several registries the first that answers.
    let output = Command::new(env!("CARGO_BIN_EXE_mizan"))
        .arg("services")
        .env("MIZAN_REGISTRY", format!("127.0.0.1:1,{}", world.registry))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(text.lines().count(), 131, "a head, and a line for each");
}
