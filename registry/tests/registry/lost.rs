//! What was registered is there after a stop, and what is gone is told.

use std::{fs, path::Path};

use mizan_contracts::registry::v1::{NoCheck, health_check::Kind};
use store::rusqlite::{Connection, OpenFlags};

use crate::support::{Client, Registry, checked, list, listen, register, soon};

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
