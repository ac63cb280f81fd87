//! The settings of an adaptive limit, and the rules they must keep.

use std::time::Duration;

/// Between which bounds the limit moves, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Never fewer calls at a time. 4: few enough to spare a callee in trouble, enough to notice
    /// that it is well again.
    pub limit_min: u32,
    /// Never more calls at a time. 200: what HTTP/2 servers commonly admit of streams on a
    /// connection or two, and Netflix's bound.
    pub limit_max: u32,
    /// How many calls at a time before anything is known. 20, as in Netflix's library.
    pub limit_initial: u32,
    /// What is left of the limit after a drop, in percent, 50 to 99. 90: an overload that lasts is
    /// answered by a tenth each round trip; one lost call costs no more than that.
    pub backoff_percent: u32,
    /// What lets it grow. [`Algorithm::Aimd`]: it needs no steady latency, and a channel carries
    /// methods both quick and slow.
    pub algorithm: Algorithm,
}

/// How the limit follows what the callee can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Algorithm {
    /// Additive increase, multiplicative decrease, as TCP does: one more call at a time for each
    /// round of calls that went well, a share less on a drop.
    Aimd,
    /// Besides drops, follows latency: what rises above its long-term average tells of a queue at
    /// the callee before anything is dropped.
    Gradient(Gradient),
}

/// How latency is followed: the rules of the `Gradient2` limit of Netflix's concurrency-limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gradient {
    /// How often the limit is adjusted, by the mean latency since. 100 ms, the shortest that
    /// Netflix allows: a client should feel a queue before its callers do.
    pub window: Duration,
    /// Of fewer calls no mean is taken; the window goes on. 10.
    pub samples_min: u32,
    /// Over how many windows the long-term average goes. 6,000, ten minutes of busy windows: it
    /// outlasts a peak, and follows a deployment.
    pub long_windows: u32,
    /// How far latency may rise above the average without being a queue, in percent of it. 150.
    pub tolerance_percent: u32,
    /// By how many calls the limit aims higher while there is no queue. 4: it must ask for more
    /// than it has, to find out whether it gets it.
    pub queue: u32,
    /// How much of the way to its aim the limit goes in a window, in percent. 20: one strange
    /// window moves little.
    pub smoothing_percent: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limit_min: 4,
            limit_max: 200,
            limit_initial: 20,
            backoff_percent: 90,
            algorithm: Algorithm::Aimd,
        }
    }
}

impl Default for Gradient {
    fn default() -> Self {
        Self {
            window: Duration::from_millis(100),
            samples_min: 10,
            long_windows: 6_000,
            tolerance_percent: 150,
            queue: 4,
            smoothing_percent: 20,
        }
    }
}

/// Why the settings of an adaptive limit were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("adaptive limit: {0}")]
pub struct InvalidConfig(&'static str);

impl Config {
    /// Refuses settings with which the limit could not move, or would let nothing through.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the rule.
    pub fn validate(self) -> Result<Self, InvalidConfig> {
        let bounds = self.limit_min..=self.limit_max;
        let rules = [
            (self.limit_min > 0, "limit_min must be above 0"),
            (!bounds.is_empty(), "limit_min must not exceed limit_max"),
            (
                bounds.contains(&self.limit_initial),
                "limit_initial must be limit_min to limit_max",
            ),
            (
                (50..=99).contains(&self.backoff_percent),
                "backoff_percent must be 50 to 99",
            ),
        ];
        let gradient = match &self.algorithm {
            Algorithm::Aimd => None,
            Algorithm::Gradient(gradient) => gradient.broken(),
        };
        let broken = rules.into_iter().find(|(holds, _)| !holds);
        match broken.map(|(_, rule)| rule).or(gradient) {
            Some(rule) => Err(InvalidConfig(rule)),
            None => Ok(self),
        }
    }
}

impl Gradient {
    /// The first rule that these settings break.
    fn broken(&self) -> Option<&'static str> {
        let rules = [
            (!self.window.is_zero(), "window must be above 0"),
            (self.samples_min > 0, "samples_min must be above 0"),
            (self.long_windows > 0, "long_windows must be above 0"),
            (
                self.tolerance_percent >= 100,
                "tolerance_percent must be at least 100",
            ),
            (self.queue > 0, "queue must be above 0"),
            (
                (1..=100).contains(&self.smoothing_percent),
                "smoothing_percent must be 1 to 100",
            ),
        ];
        let broken = rules.into_iter().find(|(holds, _)| !holds);
        broken.map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        config.validate().err().map(|InvalidConfig(rule)| rule)
    }

    fn gradient_rule(change: impl FnOnce(&mut Gradient)) -> Option<&'static str> {
        let mut gradient = Gradient::default();
        change(&mut gradient);
        rule(|config| config.algorithm = Algorithm::Gradient(gradient))
    }

    #[test]
    fn what_could_not_work_is_refused() {
        assert_eq!(rule(|_| ()), None);
        assert_eq!(gradient_rule(|_| ()), None);
        for broken in [
            rule(|c| c.limit_min = 0),
            rule(|c| c.limit_min = 201),
            rule(|c| c.limit_initial = 3),
            rule(|c| c.limit_initial = 201),
            rule(|c| c.backoff_percent = 49),
            rule(|c| c.backoff_percent = 100),
            gradient_rule(|g| g.window = Duration::ZERO),
            gradient_rule(|g| g.samples_min = 0),
            gradient_rule(|g| g.long_windows = 0),
            gradient_rule(|g| g.tolerance_percent = 99),
            gradient_rule(|g| g.queue = 0),
            gradient_rule(|g| g.smoothing_percent = 0),
            gradient_rule(|g| g.smoothing_percent = 101),
        ] {
            assert!(broken.is_some());
        }
    }
}
