//! Who is an outlier: gRFC A50's sweep, as data. No clock, no timer, no random source.
//!
//! ```text
//!                   judged an outlier: multiplier + 1
//!          ┌──────────────────────────────────────────────┐
//!          │                                              ▼
//!     ┌────────┐                                     ┌─────────┐
//!     │ in use │ ◄────────────────────────────────── │ ejected │
//!     └────────┘   more than base × multiplier ago   └─────────┘
//!      │      ▲
//!      └──────┘ each sweep in use: multiplier − 1
//! ```

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::config::{Config, FailurePercentage, SuccessRate};

/// What ended on an instance since the last sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// HOST:PORT.
    pub(crate) id: Arc<str>,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

/// What a sweep decided about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) id: Arc<str>,
    pub(crate) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Leave it out from now on.
    Eject(Method),
    /// Use it again.
    Uneject,
    /// It is an outlier, but stays.
    Spare(Method, Unenforced),
}

/// By which rule an instance is an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    SuccessRate,
    FailurePercentage,
}

/// Why an outlier was not ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unenforced {
    /// The enforcement percentage is less than 100 and chance spared it.
    EnforcementPercentage,
    /// Enough others are ejected already.
    MaxEjectionOverflow,
}

impl Method {
    /// The value of gRFC A91's `grpc.lb.outlier_detection.detection_method`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SuccessRate => "success_rate",
            Self::FailurePercentage => "failure_percentage",
        }
    }
}

/// The judge of one channel's instances.
#[derive(Debug)]
pub(crate) struct Detector {
    config: Config,
    hosts: BTreeMap<Arc<str>, Host>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Host {
    /// Since when.
    ejected: Option<Instant>,
    multiplier: u32,
}

impl Detector {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            hosts: BTreeMap::new(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Goes on with other rules. If they judge nobody, nobody stays ejected and all is forgotten;
    /// says who is to be used again.
    pub(crate) fn configure(&mut self, config: Config) -> Vec<Decision> {
        self.config = config;
        if self.config.is_on() {
            return Vec::new();
        }
        let hosts = std::mem::take(&mut self.hosts).into_iter();
        hosts
            .filter(|(_, host)| host.ejected.is_some())
            .map(|(id, _)| Verdict::Uneject.about(&id))
            .collect()
    }

    #[cfg(test)]
    pub(crate) fn is_ejected(&self, id: &str) -> bool {
        self.hosts.get(id).is_some_and(|h| h.ejected.is_some())
    }

    /// Forgets an instance that is gone. If it comes back it is a new one.
    pub(crate) fn forget(&mut self, id: &str) {
        self.hosts.remove(id);
    }

    /// Judges all instances, which are those in `volumes`, once an interval; others are forgotten.
    /// `random` is asked once for each outlier that may be ejected.
    ///
    /// An instance already ejected counts among the others but is not ejected again.
    pub(crate) fn sweep(
        &mut self,
        now: Instant,
        volumes: &[Volume],
        mut random: impl FnMut() -> u32,
    ) -> Vec<Decision> {
        if !self.config.is_on() {
            return self.configure(self.config.clone());
        }
        let hosts = volumes.iter().map(|v| {
            let known = self.hosts.get(&v.id).copied();
            (v.id.clone(), known.unwrap_or_default())
        });
        self.hosts = hosts.collect();
        let mut decisions = Vec::new();
        let success_rate = self.config.success_rate.clone();
        if let Some(rule) = &success_rate {
            let outliers = success_rate_outliers(rule, volumes);
            let enforced = rule.enforcement_percentage;
            self.eject(
                now,
                Method::SuccessRate,
                enforced,
                outliers,
                &mut random,
                &mut decisions,
            );
        }
        let failure_percentage = self.config.failure_percentage.clone();
        if let Some(rule) = &failure_percentage {
            let outliers = failure_percentage_outliers(rule, volumes);
            let enforced = rule.enforcement_percentage;
            self.eject(
                now,
                Method::FailurePercentage,
                enforced,
                outliers,
                &mut random,
                &mut decisions,
            );
        }
        self.pardon(now, &mut decisions);
        decisions
    }

    /// Ejects those of the outliers that limit and chance allow.
    fn eject<'a>(
        &mut self,
        now: Instant,
        method: Method,
        enforcement_percentage: u32,
        outliers: impl Iterator<Item = &'a Volume>,
        random: &mut impl FnMut() -> u32,
        decisions: &mut Vec<Decision>,
    ) {
        let mut ejected = self.hosts.values().filter(|h| h.ejected.is_some()).count();
        let total = self.hosts.len();
        for volume in outliers {
            let full = share_reached(ejected, total, self.config.max_ejection_percent);
            let Some(host) = self.hosts.get_mut(&volume.id) else {
                continue;
            };
            if host.ejected.is_some() {
                continue;
            }
            let verdict = if full {
                Verdict::Spare(method, Unenforced::MaxEjectionOverflow)
            } else if random() % 100 >= enforcement_percentage {
                Verdict::Spare(method, Unenforced::EnforcementPercentage)
            } else {
                host.ejected = Some(now);
                host.multiplier = host.multiplier.saturating_add(1);
                ejected += 1;
                Verdict::Eject(method)
            };
            decisions.push(verdict.about(&volume.id));
        }
    }

    /// Ends the ejections whose time is up, and forgets one of those who behaved.
    fn pardon(&mut self, now: Instant, decisions: &mut Vec<Decision>) {
        for (id, host) in &mut self.hosts {
            match host.ejected {
                None => host.multiplier = host.multiplier.saturating_sub(1),
                Some(since) => {
                    let time = self.config.ejection_time(host.multiplier);
                    if now.saturating_duration_since(since) > time {
                        host.ejected = None;
                        decisions.push(Verdict::Uneject.about(id));
                    }
                }
            }
        }
    }
}

impl Verdict {
    fn about(self, id: &Arc<str>) -> Decision {
        Decision {
            id: id.clone(),
            verdict: self,
        }
    }
}

impl Volume {
    fn total(&self) -> u64 {
        u64::from(self.successes) + u64::from(self.failures)
    }

    #[expect(
        clippy::float_arithmetic,
        reason = "gRFC A50 compares rates with their mean and deviation"
    )]
    fn success_rate(&self) -> f64 {
        let successes = f64::from(self.successes);
        successes / (successes + f64::from(self.failures))
    }
}

/// Whether `part` of `total` is at least `percent` of it.
fn share_reached(part: usize, total: usize, percent: u32) -> bool {
    let wide = |count: usize| u128::try_from(count).unwrap_or(u128::MAX);
    wide(part).saturating_mul(100) >= wide(total).saturating_mul(percent.into())
}

/// Those with enough calls, if there are enough of them.
fn judged(volumes: &[Volume], request_volume: u32, minimum_hosts: u32) -> Vec<&Volume> {
    // Nothing can be said of an instance without a call, whatever the config says.
    let enough = u64::from(request_volume.max(1));
    let judged: Vec<_> = volumes.iter().filter(|v| v.total() >= enough).collect();
    let minimum = usize::try_from(minimum_hosts).unwrap_or(usize::MAX);
    if judged.len() < minimum {
        return Vec::new();
    }
    judged
}

#[expect(
    clippy::float_arithmetic,
    reason = "gRFC A50 compares rates with their mean and deviation"
)]
fn success_rate_outliers<'a>(
    rule: &SuccessRate,
    volumes: &'a [Volume],
) -> impl Iterator<Item = &'a Volume> + use<'a> {
    let judged = judged(volumes, rule.request_volume, rule.minimum_hosts);
    let count = f64::from(u32::try_from(judged.len()).unwrap_or(u32::MAX));
    let mean = judged.iter().map(|v| v.success_rate()).sum::<f64>() / count;
    let squares = judged.iter().map(|v| (v.success_rate() - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count).sqrt();
    let limit = mean - deviation * (f64::from(rule.stdev_factor) / 1000.0);
    judged.into_iter().filter(move |v| v.success_rate() < limit)
}

fn failure_percentage_outliers<'a>(
    rule: &FailurePercentage,
    volumes: &'a [Volume],
) -> impl Iterator<Item = &'a Volume> + use<'a> {
    let judged = judged(volumes, rule.request_volume, rule.minimum_hosts);
    let threshold = u64::from(rule.threshold);
    let over = move |v: &&Volume| u64::from(v.failures) * 100 > v.total() * threshold;
    judged.into_iter().filter(over)
}

#[cfg(test)]
mod tests;
