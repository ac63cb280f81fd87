//! What a pick looks at: the instances of one service at one moment.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Instant};

use super::{
    Picked,
    member::{Member, Ready},
    outlier,
    policy::{Call, Picker},
    settings::Settings,
    slow_start::SlowStart,
    stats::InstanceStats,
};
use crate::{
    breaker::{Breaker, Open},
    discover::Known,
};

/// Never changed, only replaced.
#[derive(Debug)]
pub(super) struct Snapshot {
    ready: Vec<Arc<Ready>>,
    picker: Option<Box<dyn Picker>>,
    slow_start: Option<SlowStart>,
    rest: Rest,
    /// The instances are those that were known before an empty list, which is doubted.
    doubted: bool,
    /// As of the moment it was made.
    stats: Vec<(InstanceStats, Arc<super::load::Load>)>,
}

/// What there is when nothing is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rest {
    /// Something may be ready soon; says what is waited for.
    Connecting(String),
    /// Nothing will, as far as we know; says why.
    Failed(String),
}

/// How many instances a refusal names.
const NAMED_MAX: usize = 8;

/// The most characters of one instance's error that it quotes.
const QUOTED_MAX: usize = 120;

impl Snapshot {
    /// Before anything is known.
    pub(super) fn nothing() -> Self {
        Self {
            ready: Vec::new(),
            picker: None,
            slow_start: None,
            rest: Rest::Connecting("nothing is known of them yet".to_owned()),
            doubted: false,
            stats: Vec::new(),
        }
    }

    pub(super) fn of(
        members: &BTreeMap<Arc<str>, Member>,
        known: &Known,
        settings: &Settings,
    ) -> Self {
        let policy = &*settings.policy;
        let ready = admitted(members, settings.panic_percent);
        let candidates: Vec<_> = ready.iter().map(|ready| ready.candidate()).collect();
        let stats: Vec<_> = members.values().map(Member::stats).collect();
        let rest = rest(members, known, &stats);
        let loads = members.values().map(|member| member.load().clone());
        let window = settings.slow_start.filter(|_| policy.starts_slowly());
        let oldest = ready.iter().map(|ready| ready.since).min();
        let slow_start = window.zip(oldest);
        let nobody = matches!(known, Known::Instances(endpoints) if endpoints.is_empty());
        Self {
            doubted: nobody && !members.is_empty(),
            slow_start: slow_start.map(|(window, oldest)| SlowStart { window, oldest }),
            picker: (!ready.is_empty()).then(|| policy.picker(&candidates)),
            rest,
            stats: stats.into_iter().zip(loads).collect(),
            ready,
        }
    }

    /// The policy's choice among those with a free stream: one not in `tried` that shows signs of
    /// life, does not ask to be left alone and is not new, if there is such a one; then a new one; then
    /// without the signs; then one not in `tried`; then any.
    pub(super) fn pick(&self, call: &Call, tried: &[Arc<str>]) -> Option<Picked> {
        let picker = self.picker.as_ref()?;
        let fit = |index: usize, fits: &dyn Fn(&Ready) -> bool| {
            let ready = self.ready.get(index);
            let usable = |ready: &&Arc<Ready>| ready.is_usable(call.now) && ready.has_free_stream();
            ready.filter(usable).is_some_and(|ready| fits(ready))
        };
        let untried = |ready: &Ready| tried.is_empty() || !tried.contains(&ready.authority);
        let rested = |ready: &Ready| !ready.load.is_resting(call.now) && untried(ready);
        let warm = |index: usize, ready: &Ready| {
            let admits =
                |start: &SlowStart| start.admits(ready.since, call.now, call.random, index);
            self.slow_start.as_ref().is_none_or(admits)
        };
        let best = |i: usize| fit(i, &|r| r.is_responsive() && rested(r) && warm(i, r));
        let index = picker
            .pick(call, &best)
            .or_else(|| picker.pick(call, &|i| fit(i, &|r| r.is_responsive() && rested(r))))
            .or_else(|| picker.pick(call, &|i| fit(i, &rested)))
            .or_else(|| picker.pick(call, &|i| fit(i, &untried)))
            .or_else(|| picker.pick(call, &|i| fit(i, &|_| true)));
        Picked::at(self.ready.get(index?)?)
    }

    /// Whether those that could carry a call now have no free stream.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        let mut usable = self.ready.iter().filter(|ready| ready.is_usable(now));
        let first = usable.next();
        first.is_some_and(|first| !first.has_free_stream())
            && usable.all(|ready| !ready.has_free_stream())
    }

    /// Whether somebody could carry a call now.
    pub(super) fn has_usable(&self, now: Instant) -> bool {
        self.ready.iter().any(|ready| ready.is_usable(now))
    }

    pub(super) fn breakers(&self) -> Vec<Breaker> {
        let breakers = self.ready.iter().filter_map(|ready| ready.breaker.clone());
        breakers.collect()
    }

    /// Whether everyone who could carry the call is spared by a breaker: how long yet.
    pub(super) fn spared(&self, now: Instant) -> Option<Open> {
        let mut open = self.ready.iter().filter(|ready| ready.is_open());
        let first = open.next()?.refusal(now)?;
        open.try_fold(first, |least, ready| {
            let refusal = ready.refusal(now)?;
            let sooner = refusal.retry_after() < least.retry_after();
            Some(if sooner { refusal } else { least })
        })
    }

    /// Whether discovery says that there is nobody, and that is doubted.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted
    }

    pub(super) fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Every instance, with its load of this moment.
    pub(super) fn stats(&self) -> Vec<InstanceStats> {
        let stalled = |authority: &str| {
            let ready = self.ready.iter().find(|r| *r.authority == *authority);
            ready.map_or(0, |ready| ready.stalled())
        };
        let now = |(stats, load): &(InstanceStats, Arc<super::load::Load>)| InstanceStats {
            in_flight: load.in_flight(),
            connections_stalled: stalled(&stats.authority),
            ..stats.clone()
        };
        self.stats.iter().map(now).collect()
    }
}

/// The connected instances without the ejected ones; all of them when too few would be left.
fn admitted(members: &BTreeMap<Arc<str>, Member>, panic_percent: u32) -> Vec<Arc<Ready>> {
    let connected = members.values().filter_map(Member::ready).count();
    let left = |member: &&Member| !member.is_ejected();
    let kept: Vec<_> = members
        .values()
        .filter(left)
        .filter_map(|member| member.ready().cloned())
        .collect();
    // Nobody left is too few whatever the settings say: somebody may yet answer.
    if outlier::panicking(connected, kept.len(), panic_percent) || kept.is_empty() {
        return members
            .values()
            .filter_map(Member::ready)
            .cloned()
            .collect();
    }
    kept
}

fn rest(members: &BTreeMap<Arc<str>, Member>, known: &Known, stats: &[InstanceStats]) -> Rest {
    // Of a connection that broke we have not heard yet, though a pick may have seen it: it is
    // about to be made again.
    if members
        .values()
        .any(|member| member.is_hopeful() || member.ready().is_some())
    {
        return Rest::Connecting(listed(stats));
    }
    match known {
        _ if !members.is_empty() => Rest::Failed(listed(stats)),
        Known::Unknown => Rest::Connecting("nothing is known of them yet".to_owned()),
        Known::Unreachable(reason) => Rest::Failed(reason.clone()),
        Known::Instances(_) => Rest::Failed("none is registered and passing".to_owned()),
    }
}

/// Each instance with its state and latest error, the first few.
fn listed(stats: &[InstanceStats]) -> String {
    let mut text = String::new();
    for (index, instance) in stats.iter().take(NAMED_MAX).enumerate() {
        let comma = if index > 0 { "; " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{} {}", instance.authority, instance.state);
        if let Some(error) = &instance.last_error {
            let error: String = error.chars().take(QUOTED_MAX).collect();
            let _ = write!(text, " ({error})");
        }
    }
    let more = stats.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        let _ = write!(text, "; and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        Connection,
        balance::{
            instance::{State, View},
            policy::{LeastRequest, Policy, RoundRobin},
        },
        connection::{Config, testing::Net},
        discover::Endpoint,
    };

    /// Members of which the first are connected, and of those the first are ejected.
    async fn members(all: usize, connected: usize, ejected: usize) -> BTreeMap<Arc<str>, Member> {
        let net = Net::default();
        net.serve("a:1");
        let connection = Connection::open_with("a:1", &Config::default(), &net).await;
        let connection = connection.unwrap();
        let member = |index| {
            let endpoint = Endpoint::new(format!("host-{index}:1")).unwrap();
            let mut member = Member::new(&endpoint, None);
            member.keep(1, CancellationToken::new().drop_guard());
            if index < connected {
                let view = View {
                    state: State::Ready,
                    connection: Some(connection.clone()),
                    ..View::IDLE
                };
                member.apply(1, view);
            }
            member.eject(index < ejected);
            (member.authority().clone(), member)
        };
        (0..all).map(member).collect()
    }

    #[tokio::test]
    async fn ejected_instances_are_left_out_until_too_few_are_left() {
        for (connected, ejected, percent, admitted) in [
            (4, 0, 50, 4),
            (4, 1, 50, 3),
            (4, 2, 50, 2),
            // A quarter is too few: all of them.
            (4, 3, 50, 4),
            (4, 3, 25, 1),
            (4, 4, 50, 4),
            (4, 4, 0, 4),
            (0, 0, 50, 0),
        ] {
            let members = members(5, connected, ejected).await;
            let left = super::admitted(&members, percent);
            assert_eq!(left.len(), admitted, "{connected} {ejected} {percent}");
        }
    }

    /// How many of 3,000 picks meet each.
    fn shares(members: &BTreeMap<Arc<str>, Member>, settings: &Settings) -> Vec<usize> {
        let snapshot = Snapshot::of(members, &Known::Unknown, settings);
        let mut random = fastrand::Rng::with_seed(7);
        let mut met: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for _ in 0..3_000 {
            let call = Call {
                hash: None,
                random: random.u64(..),
                now: tokio::time::Instant::now().into_std(),
            };
            let picked = snapshot.pick(&call, &[]).unwrap();
            *met.entry(picked.authority.clone()).or_default() += 1;
        }
        met.into_values().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_joins_gets_its_share_little_by_little() {
        let policies: [Arc<dyn Policy>; 2] = [
            Arc::new(RoundRobin::default()),
            Arc::new(LeastRequest::default()),
        ];
        for policy in policies {
            let settings = Settings {
                slow_start: Some(Duration::from_secs(10)),
                ..Settings::new(policy)
            };
            let mut all = members(2, 2, 0).await;
            assert!(
                shares(&all, &settings)
                    .iter()
                    .all(|n| n.abs_diff(1500) < 150)
            );
            tokio::time::advance(Duration::from_secs(60)).await;
            let (name, late) = members(3, 3, 0).await.pop_last().unwrap();
            all.insert(name, late);
            let joined = shares(&all, &settings)[2];
            assert!(joined.abs_diff(100) < 60, "{joined}");
            tokio::time::advance(Duration::from_secs(5)).await;
            let half = shares(&all, &settings)[2];
            assert!(half.abs_diff(500) < 150, "{half}");
            tokio::time::advance(Duration::from_secs(6)).await;
            assert!(shares(&all, &settings)[2].abs_diff(1000) < 150);
            let at_once = Settings {
                slow_start: None,
                ..settings
            };
            tokio::time::advance(Duration::from_secs(60)).await;
            assert!(shares(&all, &at_once)[2].abs_diff(1000) < 150);
        }
    }

    #[tokio::test]
    async fn a_connection_that_a_pick_found_closed_is_waited_for() {
        let members = members(1, 1, 0).await;
        let known = Known::Instances(Vec::new());
        let snapshot = Snapshot::of(
            &members,
            &known,
            &Settings::new(Arc::new(RoundRobin::default())),
        );
        // Not a failure: a pick looks at the rest only when all that is ready is closed.
        assert!(matches!(snapshot.rest(), Rest::Connecting(_)));
    }

    #[tokio::test]
    async fn when_all_are_spared_the_shortest_wait_is_told() {
        use std::time::Duration;

        let now = Instant::now();
        for waits in [[30, 7, 20], [7, 20, 30], [30, 20, 7]] {
            let mut members = members(3, 3, 0).await;
            for (member, seconds) in members.values_mut().zip(waits) {
                let config = crate::breaker::Config {
                    open_for: Duration::from_secs(seconds),
                    ..crate::breaker::Config::default()
                };
                let breaker = Breaker::beginning("a", config, now);
                breaker.force_open(now);
                member.guard(Some(breaker));
            }
            let settings = Settings::new(Arc::new(RoundRobin::default()));
            let snapshot = Snapshot::of(&members, &Known::Instances(Vec::new()), &settings);
            let open = snapshot.spared(now).unwrap();
            assert_eq!(open.retry_after(), Duration::from_secs(7), "{waits:?}");
            // One that would admit a call is not spared, and so not all are.
            let one = members.values_mut().next().unwrap();
            one.guard(None);
            let snapshot = Snapshot::of(&members, &Known::Instances(Vec::new()), &settings);
            assert!(snapshot.spared(now).is_none());
        }
    }

    #[tokio::test]
    async fn ejected_is_said_of_the_connected_only() {
        let members = members(2, 1, 2).await;
        let states: Vec<_> = members
            .values()
            .map(|member| member.stats().state)
            .collect();
        use crate::balance::InstanceState;
        assert_eq!(states, [InstanceState::Ejected, InstanceState::Idle]);
    }
}
