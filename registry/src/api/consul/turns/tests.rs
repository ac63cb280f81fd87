//! Whoever filters holds up nobody else: on a runtime of one thread, which any of it would block.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use serde_json::{Value, json};

use super::*;
use crate::{
    api::consul::{
        filter::{Filter, Kind, Selectors, Work},
        list::Narrow,
    },
    catalogue::{Node, NodeView},
    metrics::Metrics,
};

const SELECTORS: Selectors = &[("Name", Kind::Text)];

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

type Made = List<Arc<NodeView>, Value>;

/// A list over this many nodes; each is shaped by this.
fn list(
    nodes: usize,
    text: &str,
    shape: impl Fn(&Arc<NodeView>) -> Value + Send + 'static,
) -> Made {
    let node = |n: usize| {
        let name = format!("node-{n}");
        Arc::new(NodeView {
            node: Arc::new(Node {
                name,
                ..Node::default()
            }),
            checks: Vec::new(),
            maintenance: None,
            create_revision: 1,
            modify_revision: 1,
        })
    };
    let filter = Filter::parse(text, SELECTORS).unwrap();
    List::new(
        (0..nodes).map(node).collect(),
        Narrow::default(),
        Box::new(move |node, made| made.push(shape(node))),
        filter,
        Work::default(),
    )
}

fn by_name(node: &Arc<NodeView>) -> Value {
    json!({"Name": node.node.name})
}

/// A list whose first turn ends when it is told to; and what tells that it has begun.
fn held() -> (
    Made,
    mpsc::Sender<()>,
    tokio::sync::mpsc::UnboundedReceiver<()>,
) {
    let (release, gate) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::mpsc::unbounded_channel();
    let gate = Mutex::new(gate);
    let made = list(1, "Name matches a", move |node| {
        begun.send(()).unwrap();
        // Released, or nobody is left who could.
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        by_name(node)
    });
    (made, release, has_begun)
}

/// One turn at a time, so that the order is known.
fn one_at_a_time() -> Turns {
    Turns {
        first: Arc::new(Semaphore::new(1)),
        further: Arc::new(Semaphore::new(1)),
        plain: Arc::new(Semaphore::new(1)),
        ..Turns::default()
    }
}

#[tokio::test]
async fn a_filter_that_runs_holds_up_nobody_on_the_thread_that_serves() {
    let (turns, metrics) = (one_at_a_time(), Metrics::default());
    let (made, release, mut begun) = held();
    let mut filtering = metrics.filtering();
    let slow = turns.filter(&mut filtering, || Ok(made));
    let others = async {
        begun.recv().await.unwrap();
        // The filter has begun and cannot end. Everything else goes on, large answers too.
        tokio::task::yield_now().await;
        assert_eq!(turns.plain(|| 7, |n| n + 1).await, Ok(8));
        release.send(()).unwrap();
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(slow.unwrap().0.len(), 0, "node-0 has no a");
    drop(filtering);
    assert_eq!(metrics.filters_ended(FilterEnd::Answered), 1);
}

#[tokio::test]
async fn quick_ones_are_answered_while_a_long_one_goes_on_and_it_goes_on_beside() {
    let (turns, metrics) = (one_at_a_time(), Metrics::default());
    // Each node takes about a turn: the name is long enough.
    let name = "ab".repeat(2_000);
    let shaped = Arc::new(AtomicUsize::new(0));
    let shape = {
        let shaped = Arc::clone(&shaped);
        move |_: &_| {
            shaped.fetch_add(1, Ordering::Relaxed);
            json!({"Name": name})
        }
    };
    let long = list(200, "Name matches `a[ab]{60}[^ab]`", shape);
    // All further turns are taken: first ones wait for none of them, and lend none to it.
    let further = Arc::clone(&turns.further).acquire_owned().await.unwrap();
    let mut filtering = metrics.filtering();
    let long = turns.filter(&mut filtering, || Ok(long));
    let quick = async {
        for _ in 0..20 {
            let mut filtering = metrics.filtering();
            let quick = list(3, "Name matches `-1$`", by_name);
            let quick = turns.filter(&mut filtering, || Ok(quick)).await;
            assert_eq!(quick.unwrap().0, [json!({"Name": "node-1"})]);
        }
        let before = shaped.load(Ordering::Relaxed);
        drop(further);
        before
    };
    let both = async { tokio::join!(long, quick) };
    let (long, before) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert!(before <= 2, "{before} are shaped in a first turn");
    // It costs too much, or, on a slow machine, takes too long.
    let refused = long.unwrap_err();
    assert!(
        refused.text.contains("too expensive") || refused.text.contains("was not done"),
        "{refused:?}"
    );
    assert!(shaped.load(Ordering::Relaxed) > before);
}

#[tokio::test]
async fn whoever_leaves_takes_no_further_turn_and_gives_the_turn_back() {
    let (turns, metrics) = (one_at_a_time(), Metrics::default());
    let (made, release, mut begun) = held();
    let mut filtering = metrics.filtering();
    {
        let left = turns.filter(&mut filtering, || Ok(made));
        tokio::pin!(left);
        tokio::select! {
            biased;
            done = &mut left => panic!("{done:?}"),
            began = begun.recv() => began.unwrap(),
        }
    }
    drop(filtering);
    assert_eq!(metrics.filters_ended(FilterEnd::Left), 1);
    // Its turn counts until it ends: nobody else runs beside it.
    assert_eq!(turns.first.available_permits(), 0);
    release.send(()).unwrap();
    let mut filtering = metrics.filtering();
    let next = turns.filter(&mut filtering, || {
        Ok(list(3, "Name matches `-2$`", by_name))
    });
    assert_eq!(next.await.unwrap().0, [json!({"Name": "node-2"})]);
    assert_eq!(begun.recv().await, None, "nothing of the first is left");
}

#[tokio::test]
async fn more_than_may_wait_are_refused_and_so_are_more_that_are_long() {
    let turns = Turns {
        waiting: Semaphore::new(1),
        long: Semaphore::new(0),
        ..one_at_a_time()
    };
    let metrics = Metrics::default();
    let (made, release, mut begun) = held();
    let mut filtering = metrics.filtering();
    let first = turns.filter(&mut filtering, || Ok(made));
    let second = async {
        begun.recv().await.unwrap();
        let mut filtering = metrics.filtering();
        let refused = turns.filter(&mut filtering, || -> Result<Made, _> {
            panic!("it was begun before its turn")
        });
        let refused = refused.await.unwrap_err();
        release.send(()).unwrap();
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok());
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(second.text.contains("try again"), "{second:?}");
    // Nobody may take a second turn here.
    let name = "ab".repeat(2_000);
    let long = list(
        50,
        "Name matches `a[ab]{60}[^ab]`",
        move |_| json!({"Name": name}),
    );
    let mut filtering = metrics.filtering();
    let long = turns.filter(&mut filtering, || Ok(long)).await.unwrap_err();
    assert_eq!(long.status, StatusCode::TOO_MANY_REQUESTS);
    drop(filtering);
    assert_eq!(metrics.filters_ended(FilterEnd::Busy), 2);
}

#[tokio::test]
async fn one_that_panics_is_told_and_takes_no_turn_with_it() {
    let (turns, metrics) = (one_at_a_time(), Metrics::default());
    let mut filtering = metrics.filtering();
    let broken = list(1, "Name matches a", |_| panic!("a fault, on purpose"));
    let told = turns
        .filter(&mut filtering, || Ok(broken))
        .await
        .unwrap_err();
    assert_eq!(told.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(turns.plain(|| (), |()| 1).await, Ok(1));
    assert_eq!(turns.first.available_permits(), 1);
}
