//! Who is told of a change, when, and in which order.

use std::{
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::super::{Phase::*, *};

type Log = Arc<Mutex<Vec<(Phase, Phase)>>>;

fn logged(config: Config) -> (Config, Log) {
    let log = Log::default();
    let into = log.clone();
    let callback = OnStateChange::new(move |change| into.lock().push((change.from, change.to)));
    let config = Config {
        on_state_change: Some(callback),
        ..config
    };
    (config, log)
}

#[test]
fn every_change_is_told_once_and_an_interval_is_none() {
    let (config, log) = logged(Config::gobreaker());
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", config, now);
    let later = now + Duration::from_secs(11);
    for _ in 0..3 {
        breaker
            .admit(later)
            .unwrap()
            .record(Outcome::Failure, later);
    }
    let later = later + Duration::from_secs(31);
    assert_eq!(breaker.phase(later), HalfOpen);
    breaker.force_closed(later);
    breaker.force_closed(later);
    breaker.automatic(later);
    let expected = [
        (Closed, Open),
        (Open, HalfOpen),
        (HalfOpen, ForcedClosed),
        (ForcedClosed, Closed),
    ];
    assert_eq!(*log.lock(), expected);
}

#[test]
fn a_callback_may_use_and_even_change_the_breaker() {
    let now = Instant::now();
    let breaker = Arc::new(OnceLock::<Breaker>::new());
    let log = Log::default();
    let (inside, into) = (breaker.clone(), log.clone());
    let callback = OnStateChange::new(move |change| {
        into.lock().push((change.from, change.to));
        if let Some(breaker) = inside.get()
            && change.to == Open
        {
            assert_eq!(breaker.counts(), Counts::default());
            breaker.force_open(now);
            assert_eq!(breaker.phase(now), ForcedOpen);
        }
    });
    let config = Config {
        on_state_change: Some(callback),
        ..Config::gobreaker()
    };
    let breaker = breaker.get_or_init(|| Breaker::beginning("invoice", config, now));
    for _ in 0..3 {
        breaker.admit(now).unwrap().record(Outcome::Failure, now);
    }
    assert_eq!(*log.lock(), [(Closed, Open), (Open, ForcedOpen)]);
}

#[test]
fn changes_by_many_threads_are_told_in_their_order() {
    let (config, log) = logged(Config::gobreaker());
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", config, now);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    breaker.force_open(now);
                    breaker.automatic(now);
                    breaker.force_closed(now);
                }
            });
        }
    });
    let last = breaker.phase(now);
    let log = log.lock();
    assert!(log.windows(2).all(|pair| pair[0].1 == pair[1].0));
    assert_eq!(log.first().map(|change| change.0), Some(Closed));
    assert_eq!(log.last().map(|change| change.1), Some(last));
}

#[test]
fn a_callback_that_panics_does_not_silence_the_next() {
    let (send, receive) = mpsc::channel();
    let callback = OnStateChange::new(move |change| {
        send.send(change.to).unwrap();
        assert!(change.to != ForcedOpen, "on purpose");
    });
    let config = Config {
        on_state_change: Some(callback),
        ..Config::gobreaker()
    };
    let now = Instant::now();
    let breaker = Breaker::beginning("invoice", config, now);
    let forced = thread::scope(|scope| scope.spawn(|| breaker.force_open(now)).join());
    assert!(forced.is_err());
    breaker.automatic(now);
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), [ForcedOpen, Closed]);
}
