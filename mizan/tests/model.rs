//! The accounting of calls ([`life`], [`queue`]), compiled over the types of a model checker and run
//! under random interleavings of threads: whatever happens to a call, all that it took comes back,
//! and at no moment is more given out than there is.
//!
//! A failing schedule is printed; `shuttle::replay` runs it again.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "files of the library, of which this uses a part"
)]

mod sync {
    pub(crate) use shuttle::sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    };
}

#[path = "../src/server/life.rs"]
mod life;
#[path = "../src/server/queue.rs"]
mod queue;

use std::task::{Wake, Waker};

use life::{ConnectionLoad, Life, Load, Received, Unread};
use queue::Queue;
use shuttle::{
    rand::{Rng as _, thread_rng},
    thread,
};
use sync::{Arc, AtomicUsize, Ordering};

/// Interleavings of each scenario.
const SCHEDULES: usize = 3_000;

const PLACES: usize = 2;
const UNREAD_MAX: usize = 100;
const CALLS: usize = 4;

/// A call on its way, and the way itself, which the HTTP library's calls hold too.
struct Call {
    life: Life,
    _turns: Arc<Queue<Self>>,
}

fn connection(server: &Arc<Load>) -> Arc<ConnectionLoad> {
    Arc::new(ConnectionLoad::new(Arc::clone(server), UNREAD_MAX))
}

/// A body that is read; waited for when it is dropped.
struct Reading(Option<thread::JoinHandle<()>>);

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(reading) = self.0.take() {
            reading.join().unwrap();
        }
    }
}

/// What a task does with a call; at any step it may be cut, by a client's reset say.
fn carry(call: Call, transport: &Queue<Unread>) {
    let load = Arc::clone(call.life.connection());
    let server = Arc::clone(load.server());
    assert!(server.taken() <= PLACES);
    if thread_rng().gen_bool(0.25) {
        return;
    }
    // Its body, which may be in another task's hands and outlive it.
    let seat = call.life.seat();
    let body = Reading(seat.map(|seat| {
        thread::spawn(move || {
            for _ in 0..2 {
                seat.lend();
                if !seat.resume() {
                    return;
                }
            }
        })
    }));
    // Dropped first, so that the call ends while its body is still read.
    let mut call = call;
    if thread_rng().gen_bool(0.5) {
        drop(body);
    }
    assert!(server.taken() <= PLACES);
    // Of a page: what came of its request.
    let received = Received::begin(&load);
    received.add(30);
    if thread_rng().gen_bool(0.25) {
        return;
    }
    received.add(30);
    call.life.answers();
    drop(received);
    if call.life.is_shed() || thread_rng().gen_bool(0.25) {
        return;
    }
    for _ in 0..2 {
        if let Ok(unread) = call.life.unread(60) {
            transport.push(unread);
        }
    }
}

/// One connection: reads calls, begins some itself, gives some to tasks, and breaks off somewhere.
fn converse(server: &Arc<Load>) {
    let load = connection(server);
    let turns = Arc::new(Queue::default());
    let transport = Arc::new(Queue::default());
    let mut tasks = Vec::new();
    for _ in 0..CALLS {
        let life = if thread_rng().gen_bool(0.2) {
            Life::exempt(&load)
        } else {
            Life::counted(&load)
        };
        let turn = Arc::clone(&turns);
        turns.push(Call { life, _turns: turn });
        if thread_rng().gen_bool(0.5) {
            for call in turns.take() {
                let transport = Arc::clone(&transport);
                if thread_rng().gen_bool(0.5) {
                    carry(call, &transport);
                } else {
                    tasks.push(thread::spawn(move || carry(call, &transport)));
                }
            }
        }
        if thread_rng().gen_bool(0.3) {
            // What was sent is gone.
            drop(transport.take());
        }
    }
    // It ends, with calls unbegun, while tasks go on; and one comes too late.
    turns.end();
    let life = Life::counted(&load);
    let turn = Arc::clone(&turns);
    turns.push(Call { life, _turns: turn });
    transport.end();
    for task in tasks {
        task.join().unwrap();
    }
    assert_eq!((load.calls(), load.unread()), (0, 0));
    assert_eq!(load.held(), 0);
}

#[test]
fn whatever_becomes_of_a_call_all_that_it_took_comes_back() {
    let scenario = || {
        let server = Arc::new(Load::new(PLACES, usize::MAX));
        let connections = [(); 2].map(|()| {
            let server = Arc::clone(&server);
            thread::spawn(move || converse(&server))
        });
        for connection in connections {
            connection.join().unwrap();
        }
        assert_eq!((server.taken(), server.held()), (0, 0));
        assert_eq!((server.calls(), server.connections()), (0, 0));
        assert!(!server.is_full());
        // And whoever comes next is admitted.
        assert!(!Life::counted(&connection(&server)).is_shed());
    };
    shuttle::check_random(scenario, SCHEDULES);
}

#[test]
fn never_more_places_are_given_than_there_are() {
    let scenario = || {
        let server = Arc::new(Load::new(PLACES, usize::MAX));
        let inside = Arc::new(AtomicUsize::new(0));
        let callers = [(); 4].map(|()| {
            let (server, inside) = (Arc::clone(&server), Arc::clone(&inside));
            thread::spawn(move || {
                let life = Life::counted(&connection(&server));
                if !life.is_shed() {
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < PLACES);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            })
        });
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(server.taken(), 0);
    };
    shuttle::check_random(scenario, SCHEDULES);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stream_that_waits_for_room_is_woken_when_there_is_some() {
    let scenario = || {
        let load = connection(&Arc::new(Load::new(PLACES, usize::MAX)));
        let life = Life::exempt(&load);
        let held = [life.unread_beyond(60), life.unread_beyond(60)];
        let leaves = held.map(|unread| thread::spawn(move || drop(unread)));
        let woken = Arc::new(Woken::default());
        let crowded = load.is_crowded(&Waker::from(Arc::clone(&woken)));
        for leaving in leaves {
            leaving.join().unwrap();
        }
        if crowded {
            assert_eq!(woken.0.load(Ordering::SeqCst), 1, "it would wait for ever");
        }
        drop(life);
    };
    shuttle::check_random(scenario, SCHEDULES);
}
