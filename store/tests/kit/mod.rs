//! A small store of items, for the tests of both back-ends.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "tests")]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use store::{
    Location, Query, Store, Unavailable, Writes,
    postgres::{Row, Session},
    rusqlite::{self, Connection},
};
use tempfile::TempDir;

/// A generous end to every wait, for a slow machine; no test rests on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub enum Command {
    /// A row in each of two tables, so that half a command can be told.
    Put(String),
    /// One more on a counter.
    Count,
    /// What a constraint refuses.
    Poison,
    Panic,
    /// Fewer outcomes than commands.
    Miscount,
    /// A statement that fails, and is passed over.
    PassOver(String),
    /// Says that it has begun and waits until it may end.
    Hold(mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>),
    /// A statement of the test's own.
    Sql(&'static str),
}

/// How many commands were in the group, and its transaction on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    pub commands: usize,
    pub transaction: i64,
}

pub struct Items;

impl Writes for Items {
    type Command = Command;
    type Outcome = Outcome;
    type Memory = ();

    const SQLITE: &'static [&'static str] = &[
        "CREATE TABLE item (name TEXT PRIMARY KEY, positive INTEGER CHECK (positive > 0)) STRICT;
         CREATE TABLE twin (name TEXT PRIMARY KEY) STRICT;",
        "CREATE TABLE counter (value INTEGER NOT NULL) STRICT; INSERT INTO counter VALUES (0);",
    ];

    const POSTGRES: &'static [&'static str] = &[
        "CREATE TABLE item (name text PRIMARY KEY, positive bigint CHECK (positive > 0));
         CREATE TABLE twin (name text PRIMARY KEY);",
        "CREATE TABLE counter (value bigint NOT NULL); INSERT INTO counter VALUES (0);
         CREATE SEQUENCE tries;
         CREATE FUNCTION conflict_twice() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('tries') <= 2 THEN
                 RAISE EXCEPTION 'give way' USING ERRCODE = 'serialization_failure';
             END IF;
         END $$;",
    ];

    fn in_file(
        file: &Connection,
        _: &mut (),
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        let outcome = Outcome {
            commands: commands.len(),
            transaction: 0,
        };
        for command in commands {
            match command {
                Command::Put(name) => {
                    file.execute("INSERT INTO item (name) VALUES (?1)", [name])?;
                    file.execute("INSERT INTO twin VALUES (?1)", [name])?;
                }
                Command::Count => {
                    file.execute("UPDATE counter SET value = value + 1", [])?;
                }
                Command::Poison => {
                    file.execute("INSERT INTO item VALUES ('poison', -1)", [])?;
                }
                Command::Panic => panic!("a command of the test panics"),
                Command::Miscount => return Ok(Vec::new()),
                Command::PassOver(name) => {
                    file.execute("INSERT INTO item (name) VALUES (?1)", [name])?;
                    // As SQLite does by itself when the disk is full.
                    let _ = file.execute_batch("ROLLBACK");
                    break;
                }
                Command::Hold(begun, end) => {
                    begun.send(()).unwrap();
                    end.lock().unwrap().recv().unwrap();
                }
                Command::Sql(sql) => file.execute_batch(sql)?,
            }
        }
        Ok(vec![outcome; commands.len()])
    }

    async fn on_server(
        server: &Session,
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        let transaction = server
            .query_opt("SELECT pg_current_xact_id()::text::bigint", &[])
            .await?;
        let outcome = Outcome {
            commands: commands.len(),
            transaction: transaction.map_or(Ok(0), |row| row.try_get(0))?,
        };
        for command in commands {
            match command {
                Command::Put(name) => {
                    server
                        .execute("INSERT INTO item (name) VALUES ($1)", &[name])
                        .await?;
                    server
                        .execute("INSERT INTO twin VALUES ($1)", &[name])
                        .await?;
                }
                Command::Count => {
                    server
                        .execute("UPDATE counter SET value = value + 1", &[])
                        .await?;
                }
                Command::Poison => {
                    server
                        .execute("INSERT INTO item VALUES ('poison', -1)", &[])
                        .await?;
                }
                Command::Panic => panic!("a command of the test panics"),
                Command::Miscount => return Ok(Vec::new()),
                Command::PassOver(name) => {
                    server
                        .execute("INSERT INTO item (name) VALUES ($1)", &[name])
                        .await?;
                    let _ = server
                        .execute("INSERT INTO item VALUES ('poison', -1)", &[])
                        .await;
                }
                Command::Hold(begun, end) => {
                    begun.send(()).unwrap();
                    let end = end.clone();
                    tokio::task::spawn_blocking(move || end.lock().unwrap().recv().unwrap())
                        .await
                        .unwrap();
                }
                Command::Sql(sql) => {
                    server.execute(sql, &[]).await?;
                }
            }
        }
        Ok(vec![outcome; commands.len()])
    }
}

/// The names in both tables.
pub struct Names;

const NAMES: [&str; 2] = [
    "SELECT name FROM item ORDER BY name",
    "SELECT name FROM twin ORDER BY name",
];

impl Query for Names {
    type Output = [BTreeSet<String>; 2];

    fn in_file(self, file: &Connection) -> Result<Self::Output, Unavailable> {
        let names = |sql: &str| {
            file.prepare(sql)?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()
        };
        Ok([names(NAMES[0])?, names(NAMES[1])?])
    }

    async fn on_server(self, server: &Session) -> Result<Self::Output, Unavailable> {
        let [items, twins] = NAMES;
        let names = |rows: Vec<Row>| rows.iter().map(|row| row.get(0)).collect();
        Ok([
            names(server.query(items, &[]).await?),
            names(server.query(twins, &[]).await?),
        ])
    }
}

/// One number, of a statement.
pub struct Number(pub &'static str);

impl Query for Number {
    type Output = i64;

    fn in_file(self, file: &Connection) -> Result<i64, Unavailable> {
        Ok(file.query_row(self.0, [], |row| row.get(0))?)
    }

    async fn on_server(self, server: &Session) -> Result<i64, Unavailable> {
        let row = server.query_opt(self.0, &[]).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
    }
}

/// Where a test keeps its items, and what has to outlive it.
pub struct Place {
    pub location: Location,
    _folder: Option<TempDir>,
}

pub fn file() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place {
        location: Location::File(folder.path().join("deep/er/items.db")),
        _folder: Some(folder),
    }
}

/// `None` where there is no PostgreSQL.
pub async fn server() -> Option<Place> {
    let url = store::testing::postgres().await?;
    Some(Place {
        location: Location::Server {
            url,
            schema: "items".to_owned(),
        },
        _folder: None,
    })
}

pub async fn open(location: &Location) -> Store<Items> {
    Store::open(location).await.unwrap()
}

pub async fn put(store: &Store<Items>, name: impl Into<String>) -> Result<Outcome, Unavailable> {
    within(store.execute(Command::Put(name.into()))).await
}

/// The names, which are the same in both tables: nothing is half-written.
pub async fn names(store: &Store<Items>) -> BTreeSet<String> {
    let [items, twins] = within(store.read(Names)).await.unwrap();
    assert_eq!(items, twins, "half a command was kept");
    items
}

pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("an answer")
}
