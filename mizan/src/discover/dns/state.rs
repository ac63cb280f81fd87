//! From DNS records to instances, and when to ask again. Pure: time is an argument.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::discover::{Endpoint, WEIGHT_MAX, distinct};

/// The bounds of a time to live: records that say 0 must not make a storm, and records that say a
/// day must not hide a move for a day.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(5 * 60);

/// However often somebody wants it, DNS is not asked again sooner.
pub(super) const ASKED_AGAIN_MIN: Duration = Duration::from_secs(1);

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// The records of one kind that a name has; none is an answer too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Records<T> {
    pub(super) records: Vec<T>,
    /// How long they hold; none when there are none and nobody said.
    pub(super) ttl: Option<Duration>,
}

/// Why there are no records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(pub(super) String);

/// What was asked for one kind of address.
pub(super) type Looked<T> = Result<Records<T>, Failure>;

/// The instances at the addresses of both families, in order, and how long that holds.
///
/// A family that could not be asked keeps the addresses that are `known` of it: half an answer must
/// not halve the instances. No address at all is a failure: a name without any is a mistake or an
/// outage far more often than a service without instances.
pub(super) fn addresses(
    v4: Looked<IpAddr>,
    v6: Looked<IpAddr>,
    port: u16,
    known: &[Endpoint],
) -> Result<(Vec<Endpoint>, Duration), Failure> {
    if let (Err(failure), Err(_)) = (&v4, &v6) {
        return Err(failure.clone());
    }
    let mut endpoints = Vec::new();
    let mut ttl = TTL_MAX;
    let mut failed = None;
    for (looked, is_v6) in [(v4, false), (v6, true)] {
        match looked {
            Ok(Records {
                records,
                ttl: holds,
            }) => {
                endpoints.extend(records.into_iter().map(|ip| Endpoint::at(ip, port)));
                ttl = ttl.min(holds.unwrap_or(TTL_MAX));
            }
            Err(failure) => {
                let same = |one: &&Endpoint| one.authority.starts_with('[') == is_v6;
                endpoints.extend(known.iter().filter(same).cloned());
                failed = Some(failure);
            }
        }
    }
    if endpoints.is_empty() {
        return Err(failed.unwrap_or_else(|| Failure("it has no address".to_owned())));
    }
    Ok((ordered(endpoints), clamped(ttl)))
}

/// The instances that SRV records name, in order, and how long that holds: those of the lowest
/// priority alone, the others being for when none of these is there. Weights keep their
/// proportions; 0, which in DNS means next to nothing, is 1. Targets stay names: connecting looks
/// them up, and certificates name them.
pub(super) fn services(looked: Looked<Service>) -> Result<(Vec<Endpoint>, Duration), Failure> {
    let Records { records, ttl } = looked?;
    // RFC 2782: the root as a target says that the service is decidedly not there.
    let there: Vec<_> = records
        .into_iter()
        .filter(|service| !matches!(&*service.target, "" | "."))
        .collect();
    let Some(first) = there.iter().map(|service| service.priority).min() else {
        return Err(Failure("it has no target".to_owned()));
    };
    let group: Vec<_> = there.iter().filter(|s| s.priority == first).collect();
    let heaviest = group.iter().map(|service| service.weight).max();
    let heaviest = heaviest.map_or(1, u32::from);
    let endpoints: Vec<_> = group
        .into_iter()
        .filter_map(|service| {
            let host = service.target.trim_end_matches('.');
            let endpoint = Endpoint::new(format!("{host}:{}", service.port)).ok()?;
            Some(endpoint.with_weight(scaled(u32::from(service.weight), heaviest)))
        })
        .collect();
    if endpoints.is_empty() {
        return Err(Failure("it has no target that is a HOST:PORT".to_owned()));
    }
    Ok((ordered(endpoints), clamped(ttl.unwrap_or(TTL_MAX))))
}

/// A weight of at most 65535 among others of at most `heaviest`, as one of at most [`WEIGHT_MAX`].
fn scaled(weight: u32, heaviest: u32) -> u32 {
    if heaviest <= WEIGHT_MAX {
        weight.max(1)
    } else {
        (weight * WEIGHT_MAX / heaviest).max(1)
    }
}

/// Servers rotate their answers; the order must not look like a change.
fn ordered(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    endpoints.sort_by(|a, b| a.authority.cmp(&b.authority).then(b.weight.cmp(&a.weight)));
    distinct(endpoints)
}

fn clamped(ttl: Duration) -> Duration {
    ttl.clamp(TTL_MIN, TTL_MAX)
}

/// When somebody's wish to look again may be granted, at the latest when it is `due` anyway. After
/// a failure it is not granted at all: the pause is there to spare the server.
pub(super) fn granted(looked: Instant, due: Instant, failed: bool) -> Instant {
    if failed {
        due
    } else {
        due.min(looked + ASKED_AGAIN_MIN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<T>(records: impl IntoIterator<Item = T>, ttl: u64) -> Looked<T> {
        Ok(Records {
            records: records.into_iter().collect(),
            ttl: Some(Duration::from_secs(ttl)),
        })
    }

    fn failed<T>() -> Looked<T> {
        Err(Failure("refused".to_owned()))
    }

    fn ips<const N: usize>(texts: [&str; N]) -> [IpAddr; N] {
        texts.map(|text| text.parse().unwrap())
    }

    fn authorities(endpoints: &[Endpoint]) -> Vec<&str> {
        endpoints.iter().map(Endpoint::authority).collect()
    }

    fn service(priority: u16, weight: u16, target: &str) -> Service {
        Service {
            priority,
            weight,
            port: 7,
            target: target.to_owned(),
        }
    }

    #[test]
    fn both_families_make_one_list_in_order() {
        let (list, ttl) = addresses(
            found(ips(["10.0.0.2", "10.0.0.1", "10.0.0.2"]), 60),
            found(ips(["::1"]), 30),
            7,
            &[],
        )
        .unwrap();
        assert_eq!(authorities(&list), ["10.0.0.1:7", "10.0.0.2:7", "[::1]:7"]);
        assert_eq!(ttl, Duration::from_secs(30));
    }

    #[test]
    fn half_an_answer_does_not_halve_the_instances() {
        let known = [Endpoint::new("10.0.0.9:7"), Endpoint::new("[::9]:7")].map(Result::unwrap);
        let (list, _) = addresses(failed(), found(ips(["::1"]), 1), 7, &known).unwrap();
        assert_eq!(authorities(&list), ["10.0.0.9:7", "[::1]:7"]);
        let (list, _) = addresses(found(ips(["10.0.0.1"]), 1), failed(), 7, &[]).unwrap();
        assert_eq!(authorities(&list), ["10.0.0.1:7"]);
        assert!(addresses(failed(), failed(), 7, &known).is_err());
        // One family has none and the other cannot be asked: that says nothing.
        let refused = addresses(found([], 1), failed(), 7, &[]).unwrap_err();
        assert_eq!(refused, Failure("refused".to_owned()));
        let none = addresses(found([], 1), found([], 1), 7, &known).unwrap_err();
        assert_eq!(none, Failure("it has no address".to_owned()));
    }

    #[test]
    fn only_the_lowest_priority_counts_and_weights_keep_their_proportions() {
        let records = [
            service(20, 9, "backup.example."),
            service(10, 60_000, "b.example."),
            service(10, 30_000, "a.example."),
            service(10, 0, "c.example."),
        ];
        let (list, ttl) = services(found(records, 0)).unwrap();
        let weighed: Vec<_> = list.iter().map(|e| (e.authority(), e.weight())).collect();
        assert_eq!(
            weighed,
            [
                ("a.example:7", 500),
                ("b.example:7", 1000),
                ("c.example:7", 1)
            ]
        );
        assert_eq!(ttl, TTL_MIN);
        let (list, _) = services(found([service(1, 5, "a."), service(1, 3, "b.")], 9)).unwrap();
        assert_eq!(
            list.iter().map(Endpoint::weight).collect::<Vec<_>>(),
            [5, 3]
        );
    }

    #[test]
    fn the_root_as_a_target_means_nobody() {
        let refused = services(found([service(0, 0, ".")], 9)).unwrap_err();
        assert_eq!(refused, Failure("it has no target".to_owned()));
        assert!(services(found([], 9)).is_err());
        assert!(services(failed()).is_err());
    }

    #[test]
    fn a_wish_is_granted_soon_but_never_after_a_failure() {
        let now = Instant::now();
        let due = now + Duration::from_secs(30);
        assert_eq!(granted(now, due, false), now + ASKED_AGAIN_MIN);
        assert_eq!(granted(now, due, true), due);
        let soon = now + Duration::from_millis(1);
        assert_eq!(granted(now, soon, false), soon);
    }

    proptest! {
        #[test]
        fn any_records_make_a_valid_list(
            records in prop::collection::vec((0u16..3, any::<u16>(), 0u16..3, "[a-c.:/]{0,3}"), 0..12),
            ttl in 0u64..100_000,
        ) {
            let records: Vec<_> = records.into_iter().map(|(priority, weight, port, target)| {
                Service { priority, weight, port, target }
            }).collect();
            let lowest = records.iter().filter(|s| !matches!(&*s.target, "" | ".")).map(|s| s.priority).min();
            let mut rotated = records.clone();
            rotated.reverse();
            let made = services(found(records.clone(), ttl));
            prop_assert_eq!(&made, &services(found(rotated, ttl)));
            if let Ok((list, ttl)) = made {
                prop_assert!((TTL_MIN..=TTL_MAX).contains(&ttl));
                prop_assert!(!list.is_empty());
                for endpoint in &list {
                    prop_assert!(Endpoint::new(endpoint.authority()).is_ok());
                    prop_assert!((1..=WEIGHT_MAX).contains(&endpoint.weight()));
                    let named = records.iter().filter(|s| {
                        Some(s.priority) == lowest
                            && format!("{}:{}", s.target.trim_end_matches('.'), s.port) == endpoint.authority()
                    });
                    prop_assert!(named.count() > 0);
                }
            }
        }

        #[test]
        fn no_address_is_lost(v4 in prop::collection::vec(any::<u32>(), 0..9), v6 in prop::collection::vec(any::<u128>(), 0..9), port in 1u16..) {
            let v4: Vec<_> = v4.into_iter().map(|bits| IpAddr::from(bits.to_be_bytes())).collect();
            let v6: Vec<_> = v6.into_iter().map(|bits| IpAddr::from(bits.to_be_bytes())).collect();
            let mut expected: Vec<_> = v4.iter().chain(&v6).map(|&ip| Endpoint::at(ip, port).authority).collect();
            expected.sort();
            expected.dedup();
            let made = addresses(found(v4, 1), found(v6, 1), port, &[]).map(|(list, _)| list);
            let made = made.unwrap_or_default().into_iter().map(|e| e.authority).collect::<Vec<_>>();
            prop_assert_eq!(made, expected);
        }
    }
}
