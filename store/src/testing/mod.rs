//! For tests: a real PostgreSQL of the test process's own.
//!
//! The server is Debian's (`/usr/lib/postgresql/*/bin`), in a temporary folder, reached by a socket
//! in it, and gone with the process that started it however that ends. Where there is none, tests
//! that need it say so on stderr and pass; with `MIZAN_TEST_POSTGRES=required` they fail.
//! `MIZAN_TEST_DATABASE_URL` names another server to use; its fresh databases are left behind.

mod limits;
mod server;

pub use limits::{limit_file_size, unprivileged};
pub use server::{Server, Settings};

use std::{
    env, process,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio_postgres::NoTls;

/// The URL of a fresh, empty database on a server that all tests of this process share. `None`, and
/// a word on stderr, where no PostgreSQL is installed.
///
/// # Panics
/// When `MIZAN_TEST_POSTGRES=required` and there is none; when there is one and it does not start.
pub async fn postgres() -> Option<String> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    if let Ok(url) = env::var("MIZAN_TEST_DATABASE_URL") {
        return Some(fresh(&url).await);
    }
    let started = tokio::task::spawn_blocking(|| {
        SHARED
            .get_or_init(|| Server::start(&Settings::default()))
            .is_some()
    });
    if !started.await.expect("PostgreSQL starts") {
        return None;
    }
    let server = SHARED.get().and_then(Option::as_ref)?;
    Some(server.database().await)
}

/// Makes a database of a new name on the server of `url`, and returns its URL.
async fn fresh(url: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("test_{}_{}", process::id(), COUNT.fetch_add(1, Relaxed));
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("the test server takes a connection");
    tokio::spawn(connection);
    // One left by an earlier process of the same number, on a server that outlives us.
    for sql in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        client
            .batch_execute(&format!("{sql} {name}"))
            .await
            .expect("the test server makes a database");
    }
    with_database(url, &name)
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = address.split_once("://").expect("a URL");
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    format!("{scheme}://{host}/{name}{parameters}")
}

/// Says loudly that a test cannot do its work here, or fails it where it must.
fn skip(why: &str) {
    assert!(
        env::var("MIZAN_TEST_POSTGRES").as_deref() != Ok("required"),
        "MIZAN_TEST_POSTGRES=required, but {why}"
    );
    #[expect(
        clippy::print_stderr,
        reason = "the one who runs the tests is to see it"
    )]
    {
        eprintln!("SKIPPED: tests against PostgreSQL, because {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_of_a_url_changes() {
        for (url, other) in [
            ("postgres://me:x@h:1/old", "postgres://me:x@h:1/new"),
            ("postgres://h", "postgres://h/new"),
            ("postgres:///old?host=/a/b", "postgres:///new?host=/a/b"),
        ] {
            assert_eq!(with_database(url, "new"), other);
        }
    }
}
