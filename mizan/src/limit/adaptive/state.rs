//! The adaptive limit: no clock, no lock, no I/O; time, latency and outcome are arguments.
//!
//! ```text
//!            a drop: × backoff, once a round trip
//!   limit_min ◄──────────────────────────────────── limit ────────────► limit_max
//!                 a queue (gradient): latency's share   calls went well, and at least
//!                                                       half of the limit was used
//! ```
//!
//! Additive increase and multiplicative decrease are TCP's; the gradient's rules are those of
//! `Gradient2` in Netflix's concurrency-limits. Two differences, on purpose: the limit grows by one
//! for a round of calls, not for each call (which would double it each round trip); and drops cut
//! it with either algorithm, but only once for calls that were under way together, since they all
//! tell of the same overload.

#![expect(
    clippy::float_arithmetic,
    reason = "averages and shares of latency, and no money is near"
)]

use std::time::{Duration, Instant};

use super::config::{Algorithm, Config, Gradient};

/// How a call ended, for the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered: its latency counts.
    Success,
    /// The callee, or something before it, had too much to do.
    Dropped,
    /// It says nothing about capacity.
    Ignored,
}

/// A call that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) began: Instant,
    /// How many calls were under way when it began, itself included.
    pub(super) in_flight: u32,
}

#[derive(Debug)]
pub(super) struct State {
    config: Config,
    /// Whole calls count; the fraction is what has been gained towards the next.
    limit: f64,
    last_cut: Option<Instant>,
    window: Window,
    latency: Average,
}

impl State {
    pub(super) fn new(config: Config) -> Self {
        Self {
            limit: f64::from(config.limit_initial),
            config,
            last_cut: None,
            window: Window::default(),
            latency: Average::default(),
        }
    }

    /// How many calls may be under way.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between two u32, and whole calls count"
    )]
    pub(super) fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Learns from a call that ended `now`.
    pub(super) fn learn(&mut self, call: Call, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Ignored => {}
            Outcome::Dropped => self.cut(call, now),
            Outcome::Success => match &self.config.algorithm {
                Algorithm::Aimd => self.grow(call.in_flight),
                Algorithm::Gradient(gradient) => {
                    let latency = now.saturating_duration_since(call.began);
                    self.window.add(latency, call.in_flight, now);
                    if let Some(mean) = self.window.mean(gradient, now) {
                        let gradient = gradient.clone();
                        self.follow(&gradient, mean);
                        self.window = Window::default();
                    }
                }
            },
        }
    }

    /// Less, unless the call was under way at the last cut already.
    fn cut(&mut self, call: Call, now: Instant) {
        if self.last_cut.is_some_and(|cut| call.began <= cut) {
            return;
        }
        let share = self.limit * percent(self.config.backoff_percent);
        self.set(share.min(self.limit - 1.0));
        self.last_cut = Some(now);
        // Its latencies are those of the overload.
        self.window = Window::default();
    }

    /// One more for a round of calls.
    fn grow(&mut self, in_flight: u32) {
        if !self.is_idle(in_flight) {
            self.set(self.limit + 1.0 / self.limit);
        }
    }

    /// Towards what latency allows.
    fn follow(&mut self, config: &Gradient, latency: f64) {
        let usual = self.latency.add(latency, config.long_windows);
        // The average was taken under load that is over: it need not take as long to come down.
        if usual / latency > 2.0 {
            self.latency.scale(0.9);
        }
        if self.is_idle(self.window.in_flight_max) {
            return;
        }
        let gradient = (percent(config.tolerance_percent) * usual / latency).clamp(0.5, 1.0);
        let aim = self.limit * gradient + f64::from(config.queue);
        let smoothing = percent(config.smoothing_percent);
        self.set(self.limit * (1.0 - smoothing) + aim * smoothing);
    }

    /// Whether so few calls were made that nothing is known about more.
    fn is_idle(&self, in_flight: u32) -> bool {
        f64::from(in_flight) * 2.0 < self.limit.floor()
    }

    fn set(&mut self, limit: f64) {
        let (min, max) = (self.config.limit_min, self.config.limit_max);
        self.limit = limit.min(f64::from(max)).max(f64::from(min));
    }
}

/// The calls since the limit was last adjusted.
#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    total: Duration,
    calls: u32,
    in_flight_max: u32,
}

impl Window {
    fn add(&mut self, latency: Duration, in_flight: u32, now: Instant) {
        self.begun.get_or_insert(now);
        self.total = self.total.saturating_add(latency);
        self.calls = self.calls.saturating_add(1);
        self.in_flight_max = self.in_flight_max.max(in_flight);
    }

    /// The mean latency in seconds, above zero, once the window is over.
    fn mean(&self, config: &Gradient, now: Instant) -> Option<f64> {
        let lasted = now.saturating_duration_since(self.begun?);
        if lasted < config.window || self.calls < config.samples_min {
            return None;
        }
        // A clock may be coarser than a call is long.
        const FLOOR: f64 = 1e-9;
        Some((self.total.as_secs_f64() / f64::from(self.calls)).max(FLOOR))
    }
}

/// How many values are averaged evenly before the average decays.
const WARM_UP: u32 = 10;

/// An average that forgets exponentially.
#[derive(Debug, Default)]
struct Average {
    value: f64,
    count: u32,
}

impl Average {
    fn add(&mut self, sample: f64, over: u32) -> f64 {
        let share = if self.count < WARM_UP {
            self.count += 1;
            1.0 / f64::from(self.count)
        } else {
            2.0 / (f64::from(over) + 1.0)
        };
        self.value += (sample - self.value) * share;
        self.value
    }

    fn scale(&mut self, factor: f64) {
        self.value *= factor;
    }
}

fn percent(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn gradient() -> Config {
        Config {
            algorithm: Algorithm::Gradient(Gradient::default()),
            ..Config::default()
        }
    }

    /// A client that always uses all it may, and a callee that answers each call after `latency`.
    struct Busy {
        state: State,
        now: Instant,
    }

    impl Busy {
        fn new(config: Config) -> Self {
            Self {
                state: State::new(config),
                now: Instant::now(),
            }
        }

        /// Rounds of as many calls as the limit allows.
        fn rounds(&mut self, rounds: u32, latency: Duration, outcome: Outcome) -> u32 {
            for _ in 0..rounds {
                let began = self.now;
                self.now += latency;
                let calls = self.state.limit();
                for in_flight in 1..=calls {
                    let call = Call { began, in_flight };
                    self.state.learn(call, outcome, self.now);
                }
            }
            self.state.limit()
        }
    }

    #[test]
    fn aimd_grows_by_one_a_round_and_falls_by_a_tenth() {
        let mut busy = Busy::new(Config::default());
        let grown = busy.rounds(20, MS, Outcome::Success);
        assert!(
            (28..=40).contains(&grown),
            "{grown}: half of each round counts"
        );
        let fallen = busy.rounds(1, MS, Outcome::Dropped);
        assert_eq!(fallen, grown * 9 / 10, "a round of drops is one overload");
        assert!(busy.rounds(100, MS, Outcome::Dropped) == 4);
        assert!(busy.rounds(1_000, MS, Outcome::Success) == 200);
    }

    #[test]
    fn an_idle_client_learns_nothing_about_more() {
        let mut state = State::new(Config::default());
        let now = Instant::now();
        for _ in 0..1_000 {
            let call = Call {
                began: now,
                in_flight: 9,
            };
            state.learn(call, Outcome::Success, now + MS);
        }
        assert_eq!(state.limit(), 20);
        let call = Call {
            began: now,
            in_flight: 10,
        };
        (0..30).for_each(|_| state.learn(call, Outcome::Success, now + MS));
        assert_eq!(state.limit(), 21);
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let mut busy = Busy::new(Config::default());
        assert_eq!(busy.rounds(100, MS, Outcome::Ignored), 20);
    }

    #[test]
    fn the_gradient_grows_while_latency_is_steady() {
        let mut busy = Busy::new(gradient());
        assert_eq!(busy.rounds(4_000, 100 * MS, Outcome::Success), 200);
    }

    #[test]
    fn the_gradient_yields_to_a_queue_and_recovers() {
        let mut busy = Busy::new(gradient());
        let before = busy.rounds(500, 100 * MS, Outcome::Success);
        let queued = busy.rounds(50, 500 * MS, Outcome::Success);
        assert!(queued < before / 4, "{before} then {queued}");
        let after = busy.rounds(500, 100 * MS, Outcome::Success);
        assert!(after > queued * 4, "{queued} then {after}");
    }

    #[test]
    fn an_average_taken_under_load_comes_down_quickly() {
        let mut busy = Busy::new(gradient());
        busy.rounds(20, 500 * MS, Outcome::Success);
        assert!((busy.state.latency.value - 0.5).abs() < 1e-6);
        busy.rounds(20, 100 * MS, Outcome::Success);
        assert!(busy.state.latency.value < 0.21, "a tenth each window");
    }

    #[test]
    fn the_gradient_allows_some_jitter() {
        let mut busy = Busy::new(gradient());
        busy.rounds(50, 100 * MS, Outcome::Success);
        let before = busy.state.limit();
        assert!(busy.rounds(20, 140 * MS, Outcome::Success) > before);
    }

    #[test]
    fn an_idle_client_does_not_raise_the_gradients_limit() {
        let mut state = State::new(gradient());
        let mut now = Instant::now();
        for _ in 0..1_000 {
            let call = Call {
                began: now,
                in_flight: 9,
            };
            now += 20 * MS;
            state.learn(call, Outcome::Success, now);
        }
        assert_eq!(state.limit(), 20);
    }

    #[test]
    fn the_gradient_is_cut_by_drops_too() {
        let mut busy = Busy::new(gradient());
        assert_eq!(busy.rounds(1, MS, Outcome::Dropped), 18);
        assert_eq!(busy.rounds(100, MS, Outcome::Dropped), 4);
    }

    fn config(aimd: bool, min: u32, spread: u32, start: u32, backoff: u32) -> Config {
        Config {
            limit_min: min,
            limit_max: min + spread,
            limit_initial: min + start.min(spread),
            backoff_percent: backoff,
            algorithm: if aimd {
                Algorithm::Aimd
            } else {
                gradient().algorithm
            },
        }
    }

    proptest! {
        /// Whatever happens, the limit stays within its bounds; a drop of a call begun since the
        /// last cut never raises it, and all but a cut leave it where it was or let it grow (AIMD).
        #[test]
        fn the_limit_keeps_its_bounds(
            aimd: bool,
            (min, spread, start) in (1_u32..50, 0_u32..300, 0_u32..300),
            backoff in 50_u32..=99,
            steps in prop::collection::vec((0_u8..3, 0_u64..400, 0_u64..300, 0_u32..400), 1..300),
        ) {
            let config = config(aimd, min, spread, start, backoff).validate().unwrap();
            let mut state = State::new(config);
            let start = Instant::now() + Duration::from_secs(10);
            let mut now = start;
            for (outcome, gap, latency, in_flight) in steps {
                now += Duration::from_millis(gap);
                let began = now - Duration::from_millis(latency);
                let outcome = [Outcome::Success, Outcome::Dropped, Outcome::Ignored][usize::from(outcome)];
                let before = state.limit();
                let fresh = state.last_cut.is_none_or(|cut| began > cut);
                state.learn(Call { began, in_flight }, outcome, now);
                let after = state.limit();
                prop_assert!((min..=min + spread).contains(&after));
                match outcome {
                    Outcome::Dropped if fresh => prop_assert!(after < before || after == min),
                    Outcome::Dropped | Outcome::Ignored => prop_assert_eq!(after, before),
                    Outcome::Success if aimd => prop_assert!((before..=before + 1).contains(&after)),
                    Outcome::Success => {}
                }
            }
        }

        /// From wherever drops left it, calls that go well bring the limit back to its upper bound.
        #[test]
        fn it_recovers(aimd: bool, drops in 0_u32..50, spread in 0_u32..60) {
            let mut busy = Busy::new(config(aimd, 2, spread, 30, 90));
            busy.rounds(drops, 100 * MS, Outcome::Dropped);
            prop_assert_eq!(busy.rounds(3_000, 100 * MS, Outcome::Success), 2 + spread);
        }
    }
}
