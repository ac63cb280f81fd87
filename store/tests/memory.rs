//! What a group leaves for the next is forgotten as soon as it may not be true any more.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use kit::{Command, Items, file, within};
use store::{Location, Store, Unavailable, Writes, postgres::Session, rusqlite::Connection};

/// Items whose groups count those before them, as far as they remember them.
struct Remembering;

impl Writes for Remembering {
    type Command = Command;
    type Outcome = u32;
    type Memory = u32;

    const SQLITE: &'static [&'static str] = Items::SQLITE;
    const POSTGRES: &'static [&'static str] = Items::POSTGRES;

    fn in_file(
        file: &Connection,
        memory: &mut u32,
        commands: &[Command],
    ) -> Result<Vec<u32>, Unavailable> {
        let remembered = *memory;
        *memory += 1;
        Items::in_file(file, &mut (), commands)?;
        Ok(vec![remembered; commands.len()])
    }

    async fn on_server(_: &Session, _: &[Command]) -> Result<Vec<u32>, Unavailable> {
        Err(Unavailable::damaged("a file only"))
    }
}

#[tokio::test]
async fn a_group_remembers_the_one_before_until_it_fails_or_another_process_writes() {
    let place = file();
    let Location::File(path) = &place.location else {
        panic!("a file")
    };
    let store = Store::<Remembering>::open(&place.location).await.unwrap();
    let count = async || within(store.execute(Command::Count)).await.unwrap();
    assert_eq!(count().await, 0);
    assert_eq!(count().await, 1);

    // Another process writes.
    let other = Connection::open(path).unwrap();
    other.execute("UPDATE counter SET value = 100", []).unwrap();
    assert_eq!(count().await, 0);
    assert_eq!(count().await, 1);
    // It reads, which changes nothing.
    let value: i64 = other
        .query_row("SELECT value FROM counter", [], |row| row.get(0))
        .unwrap();
    assert_eq!(value, 102);
    assert_eq!(count().await, 2);

    for failing in [
        Command::Poison,
        Command::Panic,
        Command::PassOver("passed over".to_owned()),
        Command::Sql("no statement"),
    ] {
        within(store.execute(failing)).await.unwrap_err();
        assert_eq!(count().await, 0);
        assert_eq!(count().await, 1);
    }
}
