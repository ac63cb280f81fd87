//! What was registered is there after a stop, and what is gone is told.

use std::{fs, path::Path};

use mizan_contracts::registry::v1::{
    NoCheck, RegisterRequest, SetMaintenanceRequest, health_check::Kind,
};
use store::rusqlite::{Connection, OpenFlags};

use crate::{
    consul::client,
    support::{Client, Registry, checked, list, listen, register, soon},
};

const FILE: &str = registry::FILE;
const INSTANCES: u16 = 40;

async fn register_all(client: &mut Client) {
    for n in 0..INSTANCES {
        let standing = Some(Kind::None(NoCheck {}));
        let hourly = std::time::Duration::from_secs(3_600);
        register(client, checked(&format!("i{n}"), n + 1, standing, hourly)).await;
    }
}

async fn assert_all(client: &mut Client) {
    let listed = list(client, true).await.instances.len();
    assert_eq!(listed, usize::from(INSTANCES));
}

fn log(data: &Path) -> std::path::PathBuf {
    data.join(format!("{FILE}-wal"))
}

#[tokio::test]
async fn after_an_orderly_stop_the_file_alone_holds_all() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    register_all(&mut registry.client().await).await;
    registry.stop().await;
    assert!(!log(data.path()).exists(), "the log is left");

    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(data.path().join(FILE), elsewhere.path().join(FILE)).unwrap();
    let registry = Registry::keeping(elsewhere.path()).await;
    assert_all(&mut registry.client().await).await;
    registry.stop().await;
}

#[tokio::test]
async fn a_byte_that_flips_in_the_log_is_told() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let mut client = registry.client().await;
    // Somebody who reads keeps everything newer in the log.
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let reader = Connection::open_with_flags(data.path().join(FILE), read_only).unwrap();
    let read = "BEGIN; SELECT count(*) FROM kept";
    reader.execute_batch(read).unwrap();
    register_all(&mut client).await;
    // As a crash at this moment leaves it.
    let left = tempfile::tempdir().unwrap();
    for ending in ["", "-wal", "-anchor"] {
        let name = format!("{FILE}{ending}");
        fs::copy(data.path().join(&name), left.path().join(&name)).unwrap();
    }
    registry.stop().await;

    let whole = fs::read(log(left.path())).unwrap();
    let mut damaged = whole.clone();
    let at = damaged.len() / 2;
    damaged[at] ^= 0xff;
    fs::write(log(left.path()), damaged).unwrap();
    for _ in 0..2 {
        let config = registry::Config {
            data: left.path().to_owned(),
            ..registry::Config::default()
        };
        let served = registry::serve(listen().await, config, std::future::pending());
        let said = mizan::process::chain(&soon(served).await.unwrap_err());
        assert!(
            said.contains("acknowledged groups of writes are missing at its end")
                && said.contains("away to begin anew"),
            "{said}"
        );
    }
    fs::write(log(left.path()), whole).unwrap();
    let registry = Registry::keeping(left.path()).await;
    assert_all(&mut registry.client().await).await;
    registry.stop().await;
}

#[tokio::test]
async fn what_a_full_disk_refuses_does_not_appear_later_and_health_tells() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let mut client = registry.client().await;
    let unpolled = |id: &str, port: u16| {
        let standing = Some(Kind::None(NoCheck {}));
        checked(id, port, standing, std::time::Duration::from_secs(3_600))
    };
    register(&mut client, unpolled("kept", 1)).await;
    let other = Connection::open(data.path().join(FILE)).unwrap();
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        other.execute_batch(&sql).unwrap();
    };
    rename("kept", "hidden");
    // The first finds out; the others are refused at once.
    for (id, port) in [("new", 1), ("kept", 2), ("other", 1)] {
        let request = RegisterRequest {
            instance: Some(unpolled(id, port)),
            ..RegisterRequest::default()
        };
        let refused = soon(client.register(request)).await.unwrap_err();
        let reason = mizan::status::reason(&refused);
        assert_eq!(reason.as_deref(), Some("STORE_UNAVAILABLE"), "{refused}");
    }
    let held = async |client: &mut Client| {
        let instances = list(client, true).await.instances.into_iter();
        let places = instances.map(|one| (one.instance_id, one.port));
        places.collect::<Vec<_>>()
    };
    let before = [("kept".to_owned(), 1)];
    assert_eq!(held(&mut client).await, before);
    let health = client::read(&registry, "/health").await;
    assert_eq!(health["status"], "degraded");
    let reason = health["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be written"), "{reason}");
    let page = client::get(&registry, "/metrics").await.body;
    let failures = |page: &str| {
        let lines = page.lines();
        let mut counts =
            lines.filter_map(|line| line.strip_prefix("mizan_registry_store_failures_total "));
        counts.next().unwrap().parse::<u64>().unwrap()
    };
    assert!(failures(&page) > 0, "{page}");
    rename("hidden", "kept");
    // It is tried again unasked, and then registrations are taken again.
    soon(async { while client::read(&registry, "/health").await["status"] != "healthy" {} }).await;
    assert_eq!(held(&mut client).await, before);
    register(&mut client, unpolled("after", 1)).await;
    registry.stop().await;
    let registry = Registry::keeping(data.path()).await;
    let mut client = registry.client().await;
    let both = [("after".to_owned(), 1), ("kept".to_owned(), 1)];
    assert_eq!(held(&mut client).await, both);
    registry.stop().await;
}

#[tokio::test]
async fn who_is_taken_out_while_the_disk_is_full_is_not_said_to_be_out_for_good() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    let mut client = registry.client().await;
    let standing = Some(Kind::None(NoCheck {}));
    let hourly = std::time::Duration::from_secs(3_600);
    register(&mut client, checked("kept", 1, standing, hourly)).await;
    let other = Connection::open(data.path().join(FILE)).unwrap();
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        other.execute_batch(&sql).unwrap();
    };
    rename("kept", "hidden");
    let out = SetMaintenanceRequest {
        instance_id: "kept".to_owned(),
        enabled: true,
        reason: "new disk".to_owned(),
        ..SetMaintenanceRequest::default()
    };
    let refused = soon(client.set_maintenance(out.clone())).await.unwrap_err();
    let reason = mizan::status::reason(&refused);
    assert_eq!(reason.as_deref(), Some("STORE_UNAVAILABLE"), "{refused}");
    rename("hidden", "kept");
    soon(async { while client::read(&registry, "/health").await["status"] != "healthy" {} }).await;
    soon(client.set_maintenance(out)).await.unwrap();
    registry.stop().await;
}
