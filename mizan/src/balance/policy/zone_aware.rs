//! Zone aware: instances of the own zone first, others for what it cannot carry.

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderName;

use super::{
    Call, Candidate, Picker, Policy,
    sample::{another, halves},
};

/// Prefers the instances of the own zone, without overloading them.
///
/// Callers are taken to be spread evenly over the zones, so a zone's fair share of the capacity (the
/// weights of its instances) is the total divided by the number of zones. While the own zone has at
/// least [`min_local_percent`](Self::min_local_percent) of that, it carries all calls. When it has
/// less, it carries so many that its instances get no more than that allows, and the rest spills
/// over to the zones that have more than their fair share, in proportion to what they have over
/// (the idea of Envoy's zone-aware routing).
///
/// Without a zone of its own, or when no instance or every instance is in it, all instances are
/// alike. Instances whose zone is unknown count as one more zone.
///
/// The inner policy chooses among the instances of the zone or of the others. It should be one that
/// does not bind a call or a channel to an instance: round robin, least request, peak EWMA.
#[derive(Debug, Clone)]
pub struct ZoneAware {
    /// The zone of this process; empty when unknown.
    pub zone: Arc<str>,
    /// Chooses within the zone and outside it.
    pub inner: Arc<dyn Policy>,
    /// How much of its fair share of the capacity the own zone needs to carry all calls, in percent,
    /// 1 to 100 (and 0 to prefer it whatever it has). Default 80: an instance carries up to 25 %
    /// more than with zones ignored, which is about what Kubernetes' topology hints accept.
    pub min_local_percent: u32,
    /// With fewer ready instances than this in the own zone, it is not preferred. Default 1: the
    /// share above already keeps a single instance from being overrun.
    pub min_local_instances: usize,
}

impl ZoneAware {
    /// Prefers `zone`; `inner` chooses among its instances, and among the others.
    #[must_use]
    pub fn new(zone: &str, inner: Arc<dyn Policy>) -> Self {
        Self {
            zone: zone.into(),
            inner,
            min_local_percent: 80,
            min_local_instances: 1,
        }
    }

    /// How the calls divide; `None` when there is nothing to prefer.
    fn divide(&self, candidates: &[Candidate]) -> Option<Division> {
        let (mut local, mut zones) = (Group::default(), BTreeMap::<&str, u64>::new());
        for (index, candidate) in candidates.iter().enumerate() {
            *zones.entry(&*candidate.zone).or_default() += u64::from(candidate.weight.max(1));
            if candidate.zone == self.zone {
                local.add(index, candidate.clone());
            }
        }
        let enough = local.indices.len() >= self.min_local_instances.max(1);
        if self.zone.is_empty() || !enough || zones.len() < 2 {
            return None;
        }
        let total: u64 = zones.values().sum();
        let count = u64::try_from(zones.len()).unwrap_or(u64::MAX);
        let own = zones.get(&*self.zone).copied().unwrap_or_default();
        // own / (total / count), divided by the share that is enough, in 2^-32.
        let needed = u128::from(total) * u128::from(self.min_local_percent);
        let has = (u128::from(own) * u128::from(count) * 100) << 32;
        let local_share = has.checked_div(needed).unwrap_or(ALL.into());
        let mut others = Group::default();
        for (index, candidate) in candidates.iter().enumerate() {
            let zone = zones.get(&*candidate.zone).copied().unwrap_or_default();
            let over = (zone * count).saturating_sub(total);
            if candidate.zone == self.zone || over == 0 {
                continue;
            }
            // The part of the zone's capacity that its own callers leave.
            let weight = u64::from(candidate.weight.max(1)) * SCALE * over / (zone * count);
            let weight = u32::try_from(weight.max(1)).unwrap_or(u32::MAX);
            others.add(
                index,
                Candidate {
                    weight,
                    ..candidate.clone()
                },
            );
        }
        Some(Division {
            local_share: u64::try_from(local_share).unwrap_or(ALL).min(ALL),
            local: local.into_part(&*self.inner),
            others: others.into_part(&*self.inner),
        })
    }
}

/// All calls, of a share in 2^-32.
const ALL: u64 = 1 << 32;

/// By how much weights are enlarged before a part of them is taken: a multiple of 1 to 8, so that
/// the parts of few instances come out even and their rotation short.
const SCALE: u64 = 840;

impl Policy for ZoneAware {
    fn picker(&self, candidates: &[Candidate]) -> Box<dyn Picker> {
        let everyone = self.inner.picker(candidates);
        match self.divide(candidates) {
            None => everyone,
            Some(division) => Box::new(Zoned { division, everyone }),
        }
    }

    fn hash_header(&self) -> Option<&HeaderName> {
        self.inner.hash_header()
    }

    fn starts_slowly(&self) -> bool {
        self.inner.starts_slowly()
    }
}

/// Some of the candidates, with their indices among all.
#[derive(Debug, Default)]
struct Group {
    indices: Vec<usize>,
    candidates: Vec<Candidate>,
}

impl Group {
    fn add(&mut self, index: usize, candidate: Candidate) {
        self.indices.push(index);
        self.candidates.push(candidate);
    }

    fn into_part(self, policy: &dyn Policy) -> Part {
        Part {
            picker: policy.picker(&self.candidates),
            indices: self.indices.into_boxed_slice(),
        }
    }
}

#[derive(Debug)]
struct Part {
    indices: Box<[usize]>,
    picker: Box<dyn Picker>,
}

impl Part {
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        // Asked before the picker is, which may be one of several that share whose turn it is:
        // turns taken in vain would lock them into a pattern.
        if !self.indices.iter().any(|&index| usable(index)) {
            return None;
        }
        let usable = |index: usize| self.indices.get(index).is_some_and(|&index| usable(index));
        let picked = self.picker.pick(call, &usable)?;
        self.indices.get(picked).copied()
    }
}

#[derive(Debug)]
struct Division {
    /// How many of the calls stay in the zone, in 2^-32.
    local_share: u64,
    local: Part,
    others: Part,
}

#[derive(Debug)]
struct Zoned {
    division: Division,
    everyone: Box<dyn Picker>,
}

impl Picker for Zoned {
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let Division {
            local_share,
            local,
            others,
        } = &self.division;
        let (draw, _) = halves(another(call.random));
        let stays = u64::from(draw) < *local_share;
        let part = if stays { local } else { others };
        part.pick(call, usable)
            .or_else(|| self.everyone.pick(call, usable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::policy::{
        LeastRequest, PickFirst, RingHash, RoundRobin,
        testing::{call, candidate, close, counts},
    };

    fn zones(zones: &[&str]) -> Vec<Candidate> {
        let named = |(i, zone): (usize, &&str)| candidate(&format!("10.0.0.{i}:1"), 1, zone);
        zones.iter().enumerate().map(named).collect()
    }

    fn round_robin(zone: &str) -> ZoneAware {
        ZoneAware::new(zone, Arc::new(RoundRobin::starting_at(0)))
    }

    fn shares(policy: &ZoneAware, all: &[&str]) -> Vec<usize> {
        let picker = policy.picker(&zones(all));
        counts(&*picker, all.len(), 12_000, &|_| true)
    }

    #[test]
    fn what_the_policy_within_asks_for_is_asked_for() {
        let within = |inner: Arc<dyn Policy>| ZoneAware::new("a", inner);
        assert!(within(Arc::new(RoundRobin::starting_at(0))).starts_slowly());
        assert!(within(Arc::new(LeastRequest::new(2))).starts_slowly());
        assert!(!within(Arc::new(PickFirst::default())).starts_slowly());
        let keyed = RingHash::default().keyed_by("x-user").unwrap();
        let keyed = within(Arc::new(keyed));
        assert_eq!(keyed.hash_header().unwrap(), "x-user");
    }

    #[test]
    fn a_zone_with_its_fair_share_carries_everything() {
        let shares = shares(&round_robin("a"), &["a", "b", "a", "b", "c", "c"]);
        assert_eq!(shares, [6000, 0, 6000, 0, 0, 0]);
    }

    #[test]
    fn a_little_less_than_fair_is_enough() {
        // 4 of 10 in two zones: 80 % of the fair share.
        let all = ["a", "a", "a", "a", "b", "b", "b", "b", "b", "b"];
        let counts = shares(&round_robin("a"), &all);
        assert_eq!(counts[..4], [3000; 4]);
    }

    #[test]
    fn what_a_small_zone_cannot_carry_spills_over_to_those_who_have_more() {
        // Fair is 2 for each zone; a has 1, b 3, c 2. Of a's calls 1/2 / 80 % = 62.5 % stay and
        // the rest goes to b, for c needs what it has.
        let counts = shares(&round_robin("a"), &["a", "b", "b", "b", "c", "c"]);
        assert!(
            close(&counts, &[7500, 1500, 1500, 1500, 0, 0], 5),
            "{counts:?}"
        );
        let exact = ZoneAware {
            min_local_percent: 100,
            ..round_robin("a")
        };
        let counts = shares(&exact, &["a", "b", "b", "b", "c", "c"]);
        assert!(
            close(&counts, &[6000, 2000, 2000, 2000, 0, 0], 5),
            "{counts:?}"
        );
    }

    #[test]
    fn the_spill_follows_what_each_zone_has_over() {
        // Fair is 4; a has 1, b 6, c 5. Of a's calls a quarter stays, and b gets twice of c's part.
        let mut all = vec!["a"];
        all.extend(["b"; 6]);
        all.extend(["c"; 5]);
        let policy = ZoneAware {
            min_local_percent: 100,
            ..round_robin("a")
        };
        let counts = shares(&policy, &all);
        let expected = [vec![3000], vec![1000; 6], vec![600; 5]].concat();
        assert!(close(&counts, &expected, 5), "{counts:?}");
    }

    #[test]
    fn a_rule_of_zero_percent_keeps_everything_at_home() {
        let policy = ZoneAware {
            min_local_percent: 0,
            ..round_robin("a")
        };
        assert_eq!(shares(&policy, &["a", "b", "b", "b"]), [12_000, 0, 0, 0]);
    }

    #[test]
    fn without_a_zone_or_anyone_in_it_all_are_alike() {
        let all = ["a", "b", "", "b"];
        assert_eq!(shares(&round_robin(""), &all), [3000; 4]);
        assert_eq!(shares(&round_robin("z"), &all), [3000; 4]);
        assert_eq!(shares(&round_robin("a"), &["a"; 4]), [3000; 4]);
        let few = ZoneAware {
            min_local_instances: 2,
            ..round_robin("a")
        };
        assert_eq!(shares(&few, &all), [3000; 4]);
    }

    #[test]
    fn when_the_zone_is_unusable_the_others_carry_it() {
        let policy = round_robin("a");
        let picker = policy.picker(&zones(&["a", "b", "c"]));
        let counts = counts(&*picker, 3, 2000, &|i| i != 0);
        assert_eq!(counts[0], 0);
        assert!(close(&counts[1..], &[1000, 1000], 5), "{counts:?}");
        assert_eq!(picker.pick(&call(5), &|_| false), None);
    }

    #[test]
    fn weights_count_as_capacity() {
        let inner = Arc::new(LeastRequest::default());
        let policy = ZoneAware::new("a", inner);
        let heavy = [candidate("x:1", 4, "a"), candidate("y:1", 1, "b")];
        let counts = counts(&*policy.picker(&heavy), 2, 1000, &|_| true);
        assert_eq!(counts, [1000, 0]);
    }
}
