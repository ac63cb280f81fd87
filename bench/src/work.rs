//! A closed loop over any call: so many callers, each making its next call when the last was
//! answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::{Error, stats};

/// Latencies are kept from 1 µs to 60 s, to three digits.
const LONGEST: u64 = 60_000_000_000;
const SHORTEST: u64 = 1_000;

/// What one round showed.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// How many calls went well.
    pub count: u64,
    /// The same, a second.
    pub per_second: f64,
    /// The median latency, in microseconds.
    pub p50: f64,
    /// The 99th percentile, in microseconds.
    pub p99: f64,
}

/// Calls for `length`, and waits for the last answers; `call` is given the caller's number.
///
/// # Errors
/// The first call that failed: what does not work is not measured.
pub async fn closed_loop<C, A>(concurrency: usize, length: Duration, call: C) -> Result<Done, Error>
where
    C: Fn(usize) -> A + Clone + Send + 'static,
    A: Future<Output = Result<(), Error>> + Send,
{
    let latencies = Histogram::<u64>::new_with_bounds(SHORTEST, LONGEST, 3)?;
    let latencies = Arc::new(Mutex::new(latencies));
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let callers: Vec<_> = (0..concurrency)
        .map(|caller| {
            let (call, latencies, stop) = (call.clone(), latencies.clone(), stop.clone());
            tokio::spawn(async move {
                let mut before = Instant::now();
                while before.duration_since(begun) < length && !stop.load(Relaxed) {
                    if let Err(error) = call(caller).await {
                        stop.store(true, Relaxed);
                        return Err(error);
                    }
                    let now = Instant::now();
                    let nanos = u64::try_from((now - before).as_nanos()).unwrap_or(LONGEST);
                    latencies.lock().saturating_record(nanos);
                    before = now;
                }
                Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let elapsed = begun.elapsed();
    let latencies = latencies.lock();
    let micros = |quantile| {
        let nanos = latencies.value_at_quantile(quantile);
        stats::micros_each(Duration::from_nanos(nanos), 1)
    };
    Ok(Done {
        count: latencies.len(),
        per_second: stats::per_second(latencies.len(), elapsed),
        p50: micros(0.5),
        p99: micros(0.99),
    })
}
