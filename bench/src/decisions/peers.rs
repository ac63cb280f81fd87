//! Other people's breakers and limiters, with their defaults, on the path where all goes well.

use std::{convert::Infallible, future::ready, hint::black_box, num::NonZeroU32, sync::Arc};

use failsafe::CircuitBreaker as _;
use futures_util::FutureExt as _;
use governor::{Quota, RateLimiter};
use recloser::Recloser;
use tower::{Service as _, ServiceExt as _, service_fn};
use tower_resilience::circuitbreaker::CircuitBreakerLayer;

use super::timing::Subject;
use crate::Error;

fn well() -> Result<(), Infallible> {
    Ok(())
}

pub(super) fn breakers() -> Result<Vec<Subject>, Error> {
    let recloser = Arc::new(Recloser::default());
    let layer = CircuitBreakerLayer::builder().build()?;
    let layered = layer.layer_fn(service_fn(|()| ready(well())));
    Ok(vec![
        Subject::new("failsafe 1.3, default policy", {
            let breaker = failsafe::Config::new().build();
            move || {
                let breaker = breaker.clone();
                move || {
                    black_box(breaker.call(well).is_ok());
                }
            }
        }),
        Subject::new("failsafe 1.3, consecutive failures", {
            let backoff = failsafe::backoff::constant(std::time::Duration::from_secs(30));
            let policy = failsafe::failure_policy::consecutive_failures(5, backoff);
            let breaker = failsafe::Config::new().failure_policy(policy).build();
            move || {
                let breaker = breaker.clone();
                move || {
                    black_box(breaker.call(well).is_ok());
                }
            }
        }),
        Subject::new("recloser 1.4", move || {
            let recloser = recloser.clone();
            move || {
                black_box(recloser.call(well).is_ok());
            }
        }),
        Subject::new(
            "tower-resilience 0.13, breaker around a ready service",
            move || {
                let mut service = layered.clone();
                move || {
                    // Everything is ready at once: one poll each.
                    let _ = black_box(service.ready().now_or_never().map(|s| s.is_ok()));
                    let _ = black_box(service.call(()).now_or_never());
                }
            },
        ),
    ])
}

pub(super) fn limiters() -> Result<Vec<Subject>, Error> {
    let fast = NonZeroU32::new(1_000_000_000).ok_or("above zero")?;
    let limiter = Arc::new(RateLimiter::direct(Quota::per_second(fast)));
    Ok(vec![Subject::new(
        "governor 0.10, direct, allowed",
        move || {
            let limiter = limiter.clone();
            move || {
                black_box(limiter.check().is_ok());
            }
        },
    )])
}
