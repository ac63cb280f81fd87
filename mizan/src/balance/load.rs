//! What an instance carries now, how fast it answers and how often it fails.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The load of one instance. Shared by the channel's calls; no lock.
///
/// Alone on its cache lines (two, since processors fetch them in pairs): every call writes it, and
/// the neighbours in memory are the loads of other instances.
#[derive(Debug)]
#[repr(align(128))]
pub struct Load {
    in_flight: AtomicU32,
    /// Successes in the high half, failures in the low one: counted and taken as one.
    tally: AtomicU64,
    /// The average and when it was last written, as one: seconds as `f32` in the low half, clock
    /// ticks in the high one.
    latency: AtomicU64,
    /// In milliseconds; 0 while nobody asked for latencies.
    decay: AtomicU32,
    /// In milliseconds.
    failure_penalty: AtomicU32,
    /// The tick until which it asked to be left alone; 0 if it did not.
    rests_until: AtomicU32,
    /// When the ticks began.
    epoch: OnceLock<Instant>,
}

/// No latency known. As a number of seconds it is none.
const UNKNOWN: u64 = u64::MAX;

const ONE_SUCCESS: u64 = 1 << 32;
const ONE_FAILURE: u64 = 1;

/// How many attempts ended well and badly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ended well.
    pub successes: u32,
    /// Ended badly.
    pub failures: u32,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            in_flight: AtomicU32::default(),
            tally: AtomicU64::default(),
            latency: AtomicU64::new(UNKNOWN),
            decay: AtomicU32::default(),
            failure_penalty: AtomicU32::default(),
            rests_until: AtomicU32::default(),
            epoch: OnceLock::new(),
        }
    }
}

impl Load {
    /// The instance asked at `now` to be left alone for so long.
    pub(crate) fn rest(&self, pause: Duration, now: Instant) {
        let until = self.ticks(now).wrapping_add(milliseconds(pause));
        self.rests_until.store(until.max(1), Ordering::Relaxed);
    }

    /// Whether the instance asked to be left alone, and the time is not over.
    #[must_use]
    pub fn is_resting(&self, now: Instant) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        if until == 0 {
            return false;
        }
        let left = until.wrapping_sub(self.ticks(now));
        let rests = (1..=u32::MAX / 2).contains(&left);
        if !rests {
            // Or it would rest again when the ticks have gone half round.
            let _ =
                self.rests_until
                    .compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        rests
    }

    /// How many attempts are under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Begins to average latencies; a policy that wants them says so for each of its candidates.
    /// Without, an attempt's end costs two atomic additions and nothing else.
    ///
    /// A failure counts as `failure_penalty` if it was not slower. Both are kept in whole
    /// milliseconds; `decay` is at least one.
    pub fn keep_latency(&self, decay: Duration, failure_penalty: Duration) {
        self.failure_penalty
            .store(milliseconds(failure_penalty), Ordering::Relaxed);
        self.decay
            .store(milliseconds(decay).max(1), Ordering::Relaxed);
    }

    /// The moving average of the latency, faded by the time since it was last measured; `None` when
    /// nothing is known, or nobody asked by [`keep_latency`](Self::keep_latency).
    #[must_use]
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        let seconds = self.latency_seconds(now)?;
        Duration::try_from_secs_f32(seconds).ok()
    }

    pub(crate) fn latency_seconds(&self, now: Instant) -> Option<f32> {
        let (then, average) = unpack(self.latency.load(Ordering::Relaxed))?;
        let decay = self.decay.load(Ordering::Relaxed);
        Some(faded(average, since(then, self.ticks(now)), decay))
    }

    /// An attempt begins. Each is followed by one [`finish`](Self::finish), unless an [`InFlight`]
    /// does both.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// An attempt ended after `took`: well, badly, or (`None`) without saying anything about the
    /// instance, as when its caller lost interest.
    pub(crate) fn finish(&self, took: Duration, well: Option<bool>, now: Instant) {
        self.end();
        let Some(well) = well else { return };
        let one = if well { ONE_SUCCESS } else { ONE_FAILURE };
        self.tally.fetch_add(one, Ordering::Relaxed);
        let decay = self.decay.load(Ordering::Relaxed);
        if decay != 0 {
            self.average(took, well, self.ticks(now), decay);
        }
    }

    fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// What ended since this was last asked; the count begins again at nothing (gRFC A50's swap of
    /// the counter's buckets).
    pub(crate) fn take_tally(&self) -> Tally {
        let taken = self.tally.swap(0, Ordering::Relaxed);
        Tally {
            successes: half(taken >> 32),
            failures: half(taken),
        }
    }

    fn average(&self, took: Duration, well: bool, now: u32, decay: u32) {
        let took = took.as_secs_f32();
        let counts_as = if well {
            took
        } else {
            let penalty = u64::from(self.failure_penalty.load(Ordering::Relaxed));
            took.max(Duration::from_millis(penalty).as_secs_f32())
        };
        let mut before = self.latency.load(Ordering::Relaxed);
        loop {
            let after = match unpack(before) {
                None => counts_as,
                Some((then, average)) => {
                    let elapsed = since(then, now);
                    // Within a tick only peaks count, so most ends of a busy instance write nothing.
                    if elapsed == 0 && took <= average {
                        return;
                    }
                    averaged(average, elapsed, decay, took, counts_as)
                }
            };
            let written = self.latency.compare_exchange_weak(
                before,
                pack(now, after),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match written {
                Ok(_) => return,
                Err(other) => before = other,
            }
        }
    }

    /// Milliseconds since the first attempt that asked; after 49 days they begin anew.
    fn ticks(&self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_init(|| now);
        let elapsed = now.saturating_duration_since(epoch);
        let seconds = half(elapsed.as_secs());
        seconds
            .wrapping_mul(1000)
            .wrapping_add(elapsed.subsec_millis())
    }
}

/// An attempt under way on an instance; dropped, it ended without saying anything about it.
#[derive(Debug)]
pub(crate) struct InFlight(Option<Arc<Load>>);

impl InFlight {
    /// An attempt begins.
    pub(crate) fn begin(load: Arc<Load>) -> Self {
        load.begin();
        Self(Some(load))
    }

    /// It ended; see [`Load::finish`].
    pub(crate) fn finish(mut self, took: Duration, well: Option<bool>, now: Instant) {
        if let Some(load) = self.0.take() {
            load.finish(took, well, now);
        }
    }
}

impl InFlight {
    /// Its instance asks to be left alone; see [`Load::rest`].
    pub(crate) fn rest(&self, pause: Duration, now: Instant) {
        if let Some(load) = &self.0 {
            load.rest(pause, now);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(load) = self.0.take() {
            load.end();
        }
    }
}

/// The average, in seconds, after an answer that `took` so long and `counts_as` so long, which is
/// longer if it was a failure.
///
/// The weight of an answer is the share of the past that faded in the `elapsed` ticks since the
/// last one, so a burst counts no more than its time. The average never falls below what was just
/// seen: a peak counts at once and in full. A penalty is no such peak: one failure among thousands
/// must not take an instance out of service, while a share of failures costs that share of the
/// penalty.
#[expect(
    clippy::float_arithmetic,
    reason = "an exponentially weighted average is a rule of real numbers"
)]
fn averaged(average: f32, elapsed: u32, decay: u32, took: f32, counts_as: f32) -> f32 {
    let weight = 1.0 - faded(1.0, elapsed, decay);
    (average + (counts_as - average) * weight).max(took)
}

/// What is left of `value` after `elapsed` of the same unit as `decay`; all of it if that is 0.
#[expect(
    clippy::float_arithmetic,
    reason = "an exponentially weighted average is a rule of real numbers"
)]
fn faded(value: f32, elapsed: u32, decay: u32) -> f32 {
    if elapsed == 0 || decay == 0 {
        return value;
    }
    let exponent = -f64::from(elapsed) / f64::from(decay);
    let seconds = f64::from(value) * exponent.exp();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "not larger than the f32 it was made from"
    )]
    let seconds = seconds as f32;
    seconds
}

/// Ticks from `then` to `now`, which began anew at most once in between; 0 if `then` is later, as
/// when another thread was faster.
fn since(then: u32, now: u32) -> u32 {
    let elapsed = now.wrapping_sub(then);
    if elapsed > u32::MAX / 2 { 0 } else { elapsed }
}

fn pack(ticks: u32, seconds: f32) -> u64 {
    u64::from(ticks) << 32 | u64::from(seconds.to_bits())
}

fn unpack(packed: u64) -> Option<(u32, f32)> {
    (packed != UNKNOWN).then(|| (half(packed >> 32), f32::from_bits(half(packed))))
}

fn half(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(
    clippy::float_arithmetic,
    reason = "what is compared are averages of real numbers"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DECAY: Duration = Duration::from_secs(10);
    const PENALTY: Duration = Duration::from_secs(5);

    fn latency_ms(load: &Load, now: Instant) -> u128 {
        let latency = load.latency(now).unwrap();
        (latency + Duration::from_micros(500)).as_millis()
    }

    #[test]
    fn attempts_under_way_are_counted_however_they_end() {
        let (load, now) = (Arc::new(Load::default()), Instant::now());
        let well = InFlight::begin(load.clone());
        let badly = InFlight::begin(load.clone());
        let dropped = InFlight::begin(load.clone());
        assert_eq!(load.in_flight(), 3);
        well.finish(MS, Some(true), now);
        badly.finish(MS, Some(false), now);
        drop(dropped);
        InFlight::begin(load.clone()).finish(MS, None, now);
        assert_eq!(load.in_flight(), 0);
        let (successes, failures) = (1, 1);
        assert_eq!(
            load.take_tally(),
            Tally {
                successes,
                failures
            }
        );
        assert_eq!(load.take_tally(), Tally::default(), "taken");
        assert_eq!(load.latency(now), None, "nobody asked");
    }

    #[test]
    fn an_instance_rests_for_as_long_as_it_asked() {
        let (load, t0) = (Load::default(), Instant::now());
        assert!(!load.is_resting(t0));
        load.rest(100 * MS, t0 + 50 * MS);
        assert!(load.is_resting(t0 + 149 * MS));
        assert!(!load.is_resting(t0 + 150 * MS));
        load.rest(100 * MS, t0 + 200 * MS);
        assert!(load.is_resting(t0 + 250 * MS));
        load.rest(10 * MS, t0 + 250 * MS);
        assert!(!load.is_resting(t0 + 270 * MS), "its latest word");
        // The ticks have come round.
        let round = Duration::from_millis(1 << 32);
        assert!(!load.is_resting(t0 + round + 205 * MS));
    }

    #[test]
    fn peaks_count_at_once_and_fade() {
        let (load, t0) = (Load::default(), Instant::now());
        load.keep_latency(DECAY, PENALTY);
        let answer = |took, at| {
            load.begin();
            load.finish(took, Some(true), t0 + at);
        };
        answer(10 * MS, Duration::ZERO);
        assert_eq!(latency_ms(&load, t0), 10);
        answer(500 * MS, Duration::ZERO);
        assert_eq!(latency_ms(&load, t0), 500);
        answer(10 * MS, Duration::ZERO);
        assert_eq!(latency_ms(&load, t0), 500, "no time has passed");
        // After one time constant the old counts for 1/e: 500 / e = 184.
        assert_eq!(latency_ms(&load, t0 + DECAY), 184);
        answer(10 * MS, DECAY);
        assert_eq!(latency_ms(&load, t0 + DECAY), 190, "10 + 490 / e");
    }

    #[test]
    fn a_failure_counts_as_slow_for_the_time_it_stands_for() {
        let (load, t0) = (Load::default(), Instant::now());
        load.keep_latency(DECAY, PENALTY);
        let answer = |took, well, at| {
            load.begin();
            load.finish(took, Some(well), t0 + at);
        };
        answer(10 * MS, true, Duration::ZERO);
        answer(MS, false, 100 * MS);
        // 1 % of the past faded: 10 + 1 % of 5 s.
        assert_eq!(latency_ms(&load, t0 + 100 * MS), 60);
        // After a failure that was slower than the penalty, that counts.
        answer(8000 * MS, false, 100 * MS);
        assert_eq!(latency_ms(&load, t0 + 100 * MS), 8000);
        // An instance that never did anything but fail.
        let load = Load::default();
        load.keep_latency(DECAY, PENALTY);
        load.begin();
        load.finish(MS, Some(false), t0);
        assert_eq!(latency_ms(&load, t0), 5000);
    }

    #[test]
    fn a_clock_that_was_read_late_does_no_harm() {
        let (load, t0) = (Load::default(), Instant::now());
        load.keep_latency(DECAY, PENALTY);
        for at in [1000, 2000, 1500, 0] {
            load.begin();
            load.finish(10 * MS, Some(true), t0 + at * MS);
        }
        assert_eq!(latency_ms(&load, t0), 10);
    }

    #[test]
    fn threads_lose_nothing() {
        let load = Load::default();
        load.keep_latency(DECAY, PENALTY);
        let now = Instant::now();
        std::thread::scope(|scope| {
            for thread in 1..=3 {
                let load = &load;
                scope.spawn(move || {
                    for i in 0..10_000 {
                        load.begin();
                        load.finish(thread * i * MS / 1000, Some(i % 2 == 0), now);
                    }
                });
            }
        });
        assert_eq!(load.in_flight(), 0);
        let Tally {
            successes,
            failures,
        } = load.take_tally();
        assert_eq!((successes, failures), (15_000, 15_000));
    }

    proptest! {
        #[test]
        fn an_average_stays_between_what_it_is_made_of(
            average in 0_f32..100.0,
            elapsed: u32,
            decay in 1_u32..1_000_000,
            took in 0_f32..100.0,
            penalty in 0_f32..100.0,
        ) {
            let counts_as = took.max(penalty);
            let after = averaged(average, elapsed, decay, took, counts_as);
            prop_assert!(after >= 0.0);
            prop_assert!(after >= took, "peaks at once");
            let (low, high) = (average.min(counts_as), average.max(counts_as));
            let error = high * 1e-5 + 1e-6;
            prop_assert!(after >= low - error && after <= high + error);
        }

        #[test]
        fn without_calls_it_fades(
            average in 0.001_f32..100.0,
            elapsed in 1_u32..1_000_000,
            more in 0_u32..1_000_000,
            decay in 1_u32..1_000_000,
        ) {
            let later = faded(average, elapsed, decay);
            prop_assert!((0.0..=average).contains(&later));
            prop_assert!(faded(average, elapsed + more, decay) <= later);
        }

        #[test]
        fn what_is_packed_is_unpacked(ticks: u32, seconds in 0_f32..1e9) {
            prop_assert_eq!(unpack(pack(ticks, seconds)), Some((ticks, seconds)));
        }
    }
}
