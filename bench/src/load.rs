//! A closed loop: so many callers, each making its next call when the last was answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tonic::{body::Body, client::GrpcService};

use crate::{
    Error,
    echo::{Client, payload},
    machine, stats,
};

/// Latencies are kept from 1 µs to 60 s, to three digits.
const LONGEST: u64 = 60_000_000_000;
const SHORTEST: u64 = 1_000;

/// What one round of one contender showed.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Answered calls a second.
    pub calls_per_second: f64,
    /// The median latency, in microseconds.
    pub p50: f64,
    /// The 99th percentile, in microseconds.
    pub p99: f64,
    /// The processor time of the client's process per call, in microseconds.
    pub cpu: f64,
    /// Calls that failed, or answered with other bytes.
    pub errors: u64,
}

struct Tally {
    latencies: Histogram<u64>,
    errors: u64,
}

/// Runs the loop over these channels (in turn, if several) for `length`.
///
/// # Errors
/// A caller that panicked, or a histogram that could not be made.
pub async fn closed_loop<T>(
    channels: Vec<T>,
    concurrency: usize,
    length: Duration,
) -> Result<Round, Error>
where
    T: GrpcService<Body> + Clone + Send + 'static,
    T::Future: Send,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Error>,
{
    let client = Client::new(channels);
    let latencies = Histogram::new_with_bounds(SHORTEST, LONGEST, 3)?;
    let tally = Arc::new(Mutex::new(Tally {
        latencies,
        errors: 0,
    }));
    let (cpu, begun) = (machine::cpu_time(), Instant::now());
    let end = begun + length;
    let callers: Vec<_> = (0..concurrency)
        .map(|_| tokio::spawn(caller(client.clone(), tally.clone(), end)))
        .collect();
    for caller in callers {
        caller.await?;
    }
    let (elapsed, cpu) = (begun.elapsed(), machine::cpu_time().saturating_sub(cpu));
    let tally = tally.lock();
    let micros = |quantile| {
        let nanos = tally.latencies.value_at_quantile(quantile);
        stats::micros_each(Duration::from_nanos(nanos), 1)
    };
    Ok(Round {
        calls_per_second: stats::per_second(tally.latencies.len(), elapsed),
        p50: micros(0.5),
        p99: micros(0.99),
        cpu: stats::micros_each(cpu, tally.latencies.len()),
        errors: tally.errors,
    })
}

async fn caller<T>(mut client: Client<T>, tally: Arc<Mutex<Tally>>, end: Instant)
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Error>,
{
    let payload = payload();
    let mut begun = Instant::now();
    while begun < end {
        let answered = client.call(&payload).await;
        // One clock read a call: the end of this one is the beginning of the next.
        let now = Instant::now();
        let nanos = u64::try_from((now - begun).as_nanos()).unwrap_or(LONGEST);
        let mut tally = tally.lock();
        match answered {
            Ok(true) => tally.latencies.saturating_record(nanos),
            Ok(false) | Err(_) => tally.errors += 1,
        }
        drop(tally);
        begun = now;
    }
}

/// So many calls, one after another.
///
/// # Errors
/// The first that failed.
pub async fn sequence<T>(channels: Vec<T>, count: u64) -> Result<(), Error>
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Error>,
{
    let mut client = Client::new(channels);
    let payload = payload();
    for _ in 0..count {
        if !client.call(&payload).await? {
            return Err("the echo answered with other bytes".into());
        }
    }
    Ok(())
}
