//! What a service may rely on, in either back-end: every test runs on a file and on a server.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, mpsc},
};

use kit::{Command, Items, Number, Outcome, names, open, put, within};
use store::{Location, Query, Store, Unavailable, Writes, postgres::Session, rusqlite::Connection};

/// Runs each of the tests in both back-ends.
macro_rules! both {
    ($($test:ident,)*) => {
        mod file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let place = super::kit::file();
                super::$test(place.location.clone()).await;
            })*
        }
        mod server {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(place) = super::kit::server().await {
                    super::$test(place.location.clone()).await;
                }
            })*
        }
    };
}

both! {
    callers_share_transactions,
    a_poisonous_command_fails_alone,
    a_command_that_panics_fails_alone,
    a_group_without_an_outcome_for_each_is_undone,
    a_failure_that_is_passed_over_is_not_acknowledged,
    who_leaves_before_his_group_begins_asked_for_nothing,
    a_read_is_one_snapshot,
    a_read_cannot_write,
    a_read_that_panics_harms_no_other,
    several_may_open_and_write_one_place_at_once,
    migrations_run_once_and_grow,
    what_was_written_is_there_after_opening_again,
}

type Asking = tokio::task::JoinHandle<Result<Outcome, Unavailable>>;

fn ask(store: &Store<Items>, command: Command) -> Asking {
    let store = store.clone();
    tokio::spawn(async move { within(store.execute(command)).await })
}

/// Keeps the writer busy until the sender is used or dropped, so that what is asked meanwhile
/// becomes one group.
async fn hold(store: &Store<Items>) -> (mpsc::Sender<()>, Asking) {
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel();
    let held = ask(store, Command::Hold(begun, Arc::new(Mutex::new(may_end))));
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
        .await
        .unwrap();
    (end, held)
}

/// Asks for the commands in one group, and answers with what became of each.
async fn grouped(
    store: &Store<Items>,
    commands: Vec<Command>,
) -> Vec<Result<Outcome, Unavailable>> {
    let (end, held) = hold(store).await;
    // Asked in order: each is polled once, which queues it, before the next. (Not more than about a
    // hundred: then tokio would have the task yield, and queue nothing.)
    let mut asked: Vec<_> = commands
        .into_iter()
        .map(|command| Box::pin(store.execute(command)))
        .collect();
    for one in &mut asked {
        assert!(futures_util::poll!(one.as_mut()).is_pending());
    }
    end.send(()).unwrap();
    held.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for one in asked {
        answers.push(within(one).await);
    }
    answers
}

async fn callers_share_transactions(at: Location) {
    let store = open(&at).await;
    let commands = (0..100).map(|i| Command::Put(format!("{i:03}"))).collect();
    let outcomes = grouped(&store, commands).await;
    let outcomes: BTreeSet<Outcome> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes.first().unwrap().commands, 100);
    assert_eq!(names(&store).await.len(), 100);
}

async fn a_poisonous_command_fails_alone(at: Location) {
    fails_alone(at, || Command::Poison).await;
}

async fn a_command_that_panics_fails_alone(at: Location) {
    fails_alone(at, || Command::Panic).await;
}

async fn a_group_without_an_outcome_for_each_is_undone(at: Location) {
    fails_alone(at, || Command::Miscount).await;
}

async fn a_failure_that_is_passed_over_is_not_acknowledged(at: Location) {
    fails_alone(at, || Command::PassOver("passed over".to_owned())).await;
}

async fn fails_alone(at: Location, bad: impl Fn() -> Command) {
    let store = open(&at).await;
    let commands = vec![
        Command::Put("a".to_owned()),
        bad(),
        Command::Put("b".to_owned()),
        bad(),
        Command::Put("c".to_owned()),
    ];
    let answers = grouped(&store, commands).await;
    let well: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(well, [true, false, true, false, true], "{answers:?}");
    put(&store, "d").await.unwrap();
    let kept = BTreeSet::from(["a", "b", "c", "d"].map(str::to_owned));
    assert_eq!(names(&store).await, kept);
}

async fn who_leaves_before_his_group_begins_asked_for_nothing(at: Location) {
    let store = open(&at).await;
    let (end, held) = hold(&store).await;
    let mut leaving = Box::pin(store.execute(Command::Put("left".to_owned())));
    assert!(futures_util::poll!(leaving.as_mut()).is_pending());
    drop(leaving);
    let stays = ask(&store, Command::Put("stayed".to_owned()));
    end.send(()).unwrap();
    held.await.unwrap().unwrap();
    stays.await.unwrap().unwrap();
    assert_eq!(names(&store).await, BTreeSet::from(["stayed".to_owned()]));
}

const COUNT: &str = "SELECT count(*) FROM item";

/// Counts, lets the test write, and counts again.
struct CountTwice {
    counted: mpsc::Sender<()>,
    written: mpsc::Receiver<()>,
}

impl Query for CountTwice {
    type Output = (i64, i64);

    fn in_file(self, file: &Connection) -> Result<(i64, i64), Unavailable> {
        let before = Number(COUNT).in_file(file)?;
        self.counted.send(()).unwrap();
        self.written.recv().unwrap();
        Ok((before, Number(COUNT).in_file(file)?))
    }

    async fn on_server(self, server: &Session) -> Result<(i64, i64), Unavailable> {
        let before = Number(COUNT).on_server(server).await?;
        self.counted.send(()).unwrap();
        tokio::task::spawn_blocking(move || self.written.recv().unwrap())
            .await
            .unwrap();
        Ok((before, Number(COUNT).on_server(server).await?))
    }
}

async fn a_read_is_one_snapshot(at: Location) {
    let store = open(&at).await;
    put(&store, "before").await.unwrap();
    let (counted, has_counted) = mpsc::channel();
    let (write, written) = mpsc::channel();
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.read(CountTwice { counted, written }).await })
    };
    tokio::task::spawn_blocking(move || has_counted.recv().unwrap())
        .await
        .unwrap();
    put(&store, "between").await.unwrap();
    write.send(()).unwrap();
    assert_eq!(within(reading).await.unwrap().unwrap(), (1, 1));
    assert_eq!(within(store.read(Number(COUNT))).await.unwrap(), 2);
}

/// A statement as a query.
struct Attempt(&'static str);

impl Query for Attempt {
    type Output = ();

    fn in_file(self, file: &Connection) -> Result<(), Unavailable> {
        Ok(file.execute_batch(self.0)?)
    }

    async fn on_server(self, server: &Session) -> Result<(), Unavailable> {
        server.execute(self.0, &[]).await?;
        Ok(())
    }
}

async fn a_read_cannot_write(at: Location) {
    let store = open(&at).await;
    for sql in ["INSERT INTO item VALUES ('x', 1)", "DROP TABLE item"] {
        assert!(within(store.read(Attempt(sql))).await.is_err(), "{sql}");
    }
    assert!(names(&store).await.is_empty());
}

struct Panics;

impl Query for Panics {
    type Output = ();

    fn in_file(self, _: &Connection) -> Result<(), Unavailable> {
        panic!("a read of the test panics")
    }

    async fn on_server(self, _: &Session) -> Result<(), Unavailable> {
        panic!("a read of the test panics")
    }
}

async fn a_read_that_panics_harms_no_other(at: Location) {
    let store = open(&at).await;
    for _ in 0..20 {
        assert!(within(store.read(Panics)).await.is_err());
    }
    assert!(names(&store).await.is_empty());
}

async fn several_may_open_and_write_one_place_at_once(at: Location) {
    const EACH: usize = 100;
    let mut opening = Vec::new();
    for _ in 0..4 {
        let at = at.clone();
        opening.push(tokio::spawn(async move { open(&at).await }));
    }
    let mut counting = Vec::new();
    for store in opening {
        let store = store.await.unwrap();
        counting.extend((0..EACH).map(|_| ask(&store, Command::Count)));
    }
    for one in counting {
        one.await.unwrap().unwrap();
    }
    let store = open(&at).await;
    let counted = within(store.read(Number("SELECT value FROM counter"))).await;
    assert_eq!(counted.unwrap(), 4 * 100);
}

/// The store of a later version.
struct Later;

impl Writes for Later {
    type Command = Command;
    type Outcome = Outcome;
    type Memory = ();

    const SQLITE: &'static [&'static str] = &[
        Items::SQLITE[0],
        Items::SQLITE[1],
        "INSERT INTO counter VALUES (7)",
    ];
    const POSTGRES: &'static [&'static str] = &[
        Items::POSTGRES[0],
        Items::POSTGRES[1],
        "INSERT INTO counter VALUES (7)",
    ];

    fn in_file(
        file: &Connection,
        _: &mut (),
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        Items::in_file(file, &mut (), commands)
    }

    async fn on_server(
        server: &Session,
        commands: &[Command],
    ) -> Result<Vec<Outcome>, Unavailable> {
        Items::on_server(server, commands).await
    }
}

async fn migrations_run_once_and_grow(at: Location) {
    put(&open(&at).await, "kept").await.unwrap();
    for _ in 0..2 {
        let later = Store::<Later>::open(&at).await.unwrap();
        let sum = "SELECT CAST(sum(value) AS bigint) FROM counter";
        assert_eq!(within(later.read(Number(sum))).await.unwrap(), 7);
    }
    // One of the version before, in the middle of an update from instance to instance.
    let earlier = open(&at).await;
    put(&earlier, "and").await.unwrap();
    let kept = BTreeSet::from(["and", "kept"].map(str::to_owned));
    assert_eq!(names(&earlier).await, kept);
}

async fn what_was_written_is_there_after_opening_again(at: Location) {
    let store = open(&at).await;
    put(&store, "a").await.unwrap();
    drop(store);
    assert_eq!(
        names(&open(&at).await).await,
        BTreeSet::from(["a".to_owned()])
    );
}
