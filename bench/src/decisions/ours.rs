//! Ours: breaker, limiter, pick, and all of them together.

use std::{hint::black_box, sync::Arc, time::Instant};

use mizan::{
    balance::policy::{Call, Candidate, Picker, Policy as _, RoundRobin},
    breaker::{Breaker, Config, Outcome},
    limit::{Limiter, Rate},
};

use super::timing::Subject;
use crate::Error;

/// A rate that never binds.
const FAST: Option<Rate> = Rate::new(1_000_000_000, 1_000_000_000);

pub(super) fn clock() -> Subject {
    Subject::new("one clock reading", || {
        || {
            black_box(Instant::now());
        }
    })
}

pub(super) fn breakers() -> Vec<Subject> {
    let breaker = Breaker::new("echo", Config::default());
    let own_clock = breaker.clone();
    vec![
        Subject::new(
            "Mizan breaker: permit + record, two clock readings",
            move || {
                let breaker = own_clock.clone();
                move || {
                    if let Ok(permit) = breaker.admit(Instant::now()) {
                        permit.record(Outcome::Success, Instant::now());
                    }
                }
            },
        ),
        Subject::new("Mizan breaker: permit + record, time given", move || {
            let breaker = breaker.clone();
            let now = Instant::now();
            move || {
                if let Ok(permit) = breaker.admit(black_box(now)) {
                    permit.record(Outcome::Success, black_box(now));
                }
            }
        }),
    ]
}

pub(super) fn limiters() -> Result<Vec<Subject>, Error> {
    let limiter = Limiter::new("echo", FAST.ok_or("a rate above zero")?);
    let own_clock = limiter.clone();
    Ok(vec![
        Subject::new("Mizan limiter: try, one clock reading", move || {
            let limiter = own_clock.clone();
            move || {
                black_box(limiter.try_acquire(Instant::now()));
            }
        }),
        Subject::new("Mizan limiter: try, time given", move || {
            let limiter = limiter.clone();
            let now = Instant::now();
            move || {
                black_box(limiter.try_acquire(black_box(now)));
            }
        }),
    ])
}

fn picker() -> (Vec<Candidate>, Arc<dyn Picker>) {
    let candidate = |port: u16| Candidate {
        authority: format!("127.0.0.1:{port}").into(),
        weight: 1,
        zone: "".into(),
        load: Arc::default(),
    };
    let candidates: Vec<_> = (1..=3).map(candidate).collect();
    let picker = RoundRobin::default().picker(&candidates);
    (candidates, picker.into())
}

fn call(now: Instant) -> Call {
    Call {
        hash: None,
        random: 0,
        now,
    }
}

pub(super) fn picks() -> Vec<Subject> {
    let (candidates, picker) = picker();
    let candidates = Arc::new(candidates);
    vec![Subject::new("Mizan pick: round robin over 3", move || {
        let (candidates, picker) = (candidates.clone(), picker.clone());
        let now = Instant::now();
        move || {
            let picked = picker.pick(&call(now), &|_| true);
            black_box(picked.and_then(|index| candidates.get(index)));
        }
    })]
}

/// What a unary call asks, in its order: token, permit, instance; then how it went.
pub(super) fn together() -> Result<Vec<Subject>, Error> {
    let breaker = Breaker::new("echo", Config::default());
    let limiter = Limiter::new("echo", FAST.ok_or("a rate above zero")?);
    let (_, picker) = picker();
    let name = "Mizan limiter + breaker + pick + record, two clock readings";
    Ok(vec![Subject::new(name, move || {
        let (breaker, limiter, picker) = (breaker.clone(), limiter.clone(), picker.clone());
        move || {
            let now = Instant::now();
            if limiter.try_acquire(now)
                && let Ok(permit) = breaker.admit(now)
            {
                black_box(picker.pick(&call(now), &|_| true));
                permit.record(Outcome::Success, Instant::now());
            }
        }
    })])
}
