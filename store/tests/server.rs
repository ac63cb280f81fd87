//! What goes wrong with a server, and that it is told soon and leaves nothing half-written.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::{collections::BTreeSet, net::TcpListener};

use kit::{Command, Items, Number, Place, names, open, put, server, within};
use store::{Location, Store};
use tokio_postgres::{Client, NoTls};

fn url(place: &Place) -> &str {
    match &place.location {
        Location::Server { url, .. } => url,
        Location::File(_) => panic!("not a server"),
    }
}

/// Another client of the same database.
async fn other(place: &Place) -> Client {
    let (client, connection) = tokio_postgres::connect(url(place), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    BTreeSet::from(names.map(str::to_owned))
}

/// The value of a setting, in the writer's session.
async fn setting(store: &Store<Items>, insert: &'static str) -> String {
    within(store.execute(Command::Sql(insert))).await.unwrap();
    let [items, _] = within(store.read(kit::Names)).await.unwrap();
    items.first().unwrap().clone()
}

#[tokio::test]
async fn a_database_that_does_not_wait_for_the_disk_is_made_to() {
    let Some(place) = server().await else { return };
    let name = url(&place).split(['/', '?']).nth(3).unwrap().to_owned();
    let lax = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    other(&place).await.batch_execute(&lax).await.unwrap();
    let store = open(&place.location).await;
    let ask = "INSERT INTO item SELECT current_setting('synchronous_commit')";
    assert_eq!(setting(&store, ask).await, "on");
}

#[tokio::test]
async fn a_connection_that_breaks_while_idle_is_replaced_unseen() {
    let Some(place) = server().await else { return };
    let store = open(&place.location).await;
    put(&store, "a").await.unwrap();
    names(&store).await;
    let other = other(&place).await;
    let ended = other
        .query(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
              WHERE application_name = 'items' AND datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(ended.len(), 2, "a writer and a reader");
    put(&store, "b").await.unwrap();
}

#[tokio::test]
async fn what_the_server_asks_to_repeat_is_repeated() {
    let Some(place) = server().await else { return };
    let store = open(&place.location).await;
    within(store.execute(Command::Sql("SELECT conflict_twice()")))
        .await
        .unwrap();
    let tries = within(store.read(Number("SELECT last_value FROM tries"))).await;
    assert_eq!(tries.unwrap(), 3);
}

#[tokio::test]
async fn a_lock_that_is_not_let_go_refuses_until_it_is() {
    let Some(place) = server().await else { return };
    let store = open(&place.location).await;
    let other = other(&place).await;
    other
        .batch_execute("BEGIN; LOCK TABLE items.item IN SHARE MODE")
        .await
        .unwrap();
    put(&store, "locked").await.unwrap_err();
    assert!(names(&store).await.is_empty());
    other.batch_execute("ROLLBACK").await.unwrap();
    put(&store, "free").await.unwrap();
    assert_eq!(names(&store).await, set(["free"]));
}

#[tokio::test]
async fn a_statement_that_does_not_end_is_ended() {
    let Some(place) = server().await else { return };
    let store = open(&place.location).await;
    within(store.execute(Command::Sql("SELECT pg_sleep(3600)")))
        .await
        .unwrap_err();
    put(&store, "after").await.unwrap();
    assert_eq!(names(&store).await, set(["after"]));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_without_its_password() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let location = Location::Server {
        url: format!("postgres://me:s3cret@127.0.0.1:{port}/ledger"),
        schema: "items".to_owned(),
    };
    let error = within(Store::<Items>::open(&location)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot open PostgreSQL at 127.0.0.1:{port}/ledger: the server does not answer")
    );
    assert!(!format!("{error:?} {location:?}").contains("s3cret"));
    drop(silent);
    let error = within(Store::<Items>::open(&location)).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn services_share_a_database_each_in_its_schema() {
    let Some(place) = server().await else { return };
    // Someone else's tables, of the same names, in another schema of the same database.
    let another = Location::Server {
        url: url(&place).to_owned(),
        schema: "others".to_owned(),
    };
    let (one, two) = (open(&place.location).await, open(&another).await);
    put(&one, "same").await.unwrap();
    put(&two, "same").await.unwrap();
    assert_eq!(names(&one).await, set(["same"]));
    assert_eq!(names(&two).await, set(["same"]));
}
