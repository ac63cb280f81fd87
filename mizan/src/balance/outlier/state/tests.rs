//! The sweep by the numbers of gRFC A50, and what must hold whatever happens.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Instances a, b, c… with these successes and failures.
fn volumes(counts: &[(u32, u32)]) -> Vec<Volume> {
    let volume = |(i, (successes, failures)): (usize, &(u32, u32))| Volume {
        id: name(i),
        successes: *successes,
        failures: *failures,
    };
    counts.iter().enumerate().map(volume).collect()
}

fn name(i: usize) -> Arc<str> {
    format!("host-{i:02}").into()
}

fn ejected(decisions: &[Decision]) -> Vec<(&str, Method)> {
    let eject = |d| match d {
        &Decision {
            ref id,
            verdict: Verdict::Eject(method),
        } => Some((&**id, method)),
        _ => None,
    };
    decisions.iter().filter_map(eject).collect()
}

fn unejected(decisions: &[Decision]) -> usize {
    let uneject = |d: &&Decision| d.verdict == Verdict::Uneject;
    decisions.iter().filter(uneject).count()
}

fn success_rate_only() -> Config {
    Config {
        failure_percentage: None,
        ..Config::default()
    }
}

fn failure_percentage_only() -> Config {
    Config {
        success_rate: None,
        ..Config::default()
    }
}

fn sweep(config: Config, counts: &[(u32, u32)]) -> Vec<Decision> {
    Detector::new(config).sweep(Instant::now(), &volumes(counts), || 0)
}

#[test]
fn success_rate_ejects_what_is_far_below_the_others() {
    // Mean 80 %, deviation 40 %: the limit is 80 − 1.9 × 40 = 4 %.
    let counts = [(100, 0), (100, 0), (100, 0), (100, 0), (0, 100)];
    let decisions = sweep(success_rate_only(), &counts);
    assert_eq!(ejected(&decisions), [("host-04", Method::SuccessRate)]);
    // Mean 80.8 %, deviation 38.4 %: the limit is 7.84 %, and 4 % is below it.
    let counts = [(100, 0), (100, 0), (100, 0), (100, 0), (4, 96)];
    assert_eq!(ejected(&sweep(success_rate_only(), &counts)).len(), 1);
}

#[test]
fn the_factor_says_how_many_deviations_below_are_too_many() {
    // Mean 84 %, deviation 32 %: the fifth, at 20 %, is two deviations below.
    let counts = [(100, 0), (100, 0), (100, 0), (100, 0), (20, 80)];
    for (stdev_factor, ejects) in [(500, 1), (1_000, 1), (1_990, 1), (2_010, 0), (4_000, 0)] {
        let mut config = success_rate_only();
        let rule = config.success_rate.as_mut().unwrap();
        rule.stdev_factor = stdev_factor;
        let decisions = sweep(config, &counts);
        assert_eq!(ejected(&decisions).len(), ejects, "{stdev_factor}");
    }
}

#[test]
fn success_rate_does_not_judge_too_few_or_too_little() {
    let four = [(100, 0), (100, 0), (100, 0), (0, 100)];
    assert_eq!(sweep(success_rate_only(), &four), []);
    // Only four have a hundred calls.
    let little = [(100, 0), (100, 0), (100, 0), (0, 100), (99, 0)];
    assert_eq!(sweep(success_rate_only(), &little), []);
    // The bad one has too few calls to be judged by.
    let bad = [(100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (0, 99)];
    assert_eq!(sweep(success_rate_only(), &bad), []);
    // All the same: nobody is below the limit.
    assert_eq!(sweep(success_rate_only(), &[(50, 50); 6]), []);
}

#[test]
fn failure_percentage_ejects_more_than_the_threshold() {
    let counts = |failures| {
        let mut counts = [(100, 0); 5];
        counts[2] = (100 - failures, failures);
        counts
    };
    assert_eq!(sweep(failure_percentage_only(), &counts(85)), []);
    let decisions = sweep(failure_percentage_only(), &counts(86));
    let expected = [("host-02", Method::FailurePercentage)];
    assert_eq!(ejected(&decisions), expected);
    // Too few instances with fifty calls, or too few calls.
    let four = [(50, 0), (50, 0), (50, 0), (0, 50), (49, 0)];
    assert_eq!(sweep(failure_percentage_only(), &four), []);
    let bad = [(50, 0), (50, 0), (50, 0), (50, 0), (50, 0), (0, 49)];
    assert_eq!(sweep(failure_percentage_only(), &bad), []);
}

#[test]
fn both_rules_eject_an_instance_once() {
    let counts = [(100, 0), (100, 0), (100, 0), (100, 0), (0, 100)];
    let mut detector = Detector::new(Config {
        max_ejection_percent: 100,
        ..Config::default()
    });
    let decisions = detector.sweep(Instant::now(), &volumes(&counts), || 0);
    assert_eq!(ejected(&decisions), [("host-04", Method::SuccessRate)]);
    assert_eq!(detector.hosts["host-04"].multiplier, 1);
}

#[test]
fn the_share_of_ejected_instances_is_limited_and_the_rest_is_told() {
    let config = |percent| Config {
        max_ejection_percent: percent,
        ..failure_percentage_only()
    };
    let all_bad = [(0, 50); 10];
    // 10 %: one. 25 %: two are less than that, so a third goes (gRFC A50 looks before it ejects).
    for (percent, count) in [
        (0, 0),
        (1, 1),
        (10, 1),
        (11, 2),
        (25, 3),
        (50, 5),
        (100, 10),
    ] {
        let decisions = sweep(config(percent), &all_bad);
        assert_eq!(ejected(&decisions).len(), count, "{percent} %");
        let spared = Verdict::Spare(Method::FailurePercentage, Unenforced::MaxEjectionOverflow);
        let spared = decisions.iter().filter(|d| d.verdict == spared);
        assert_eq!(spared.count(), 10 - count, "{percent} %");
    }
    // One of five is more than the default of 10 %, but one it is.
    assert_eq!(ejected(&sweep(config(10), &[(0, 50); 5])).len(), 1);
}

#[test]
fn chance_enforces() {
    let config = Config {
        max_ejection_percent: 100,
        failure_percentage: Some(FailurePercentage {
            enforcement_percentage: 30,
            ..FailurePercentage::default()
        }),
        ..failure_percentage_only()
    };
    let mut draws = [29, 30, 129, 99, 0].into_iter();
    let mut detector = Detector::new(config);
    let all_bad = volumes(&[(0, 50); 5]);
    let decisions = detector.sweep(Instant::now(), &all_bad, || draws.next().unwrap());
    let ids: Vec<_> = ejected(&decisions).iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["host-00", "host-02", "host-04"]);
    let spared = Verdict::Spare(Method::FailurePercentage, Unenforced::EnforcementPercentage);
    assert_eq!(decisions[1], spared.about(&name(1)));
}

#[test]
fn an_ejection_ends_after_its_time_and_the_next_lasts_longer() {
    let (bad, idle) = (
        volumes(&[(100, 0), (100, 0), (100, 0), (100, 0), (0, 100)]),
        volumes(&[(100, 0), (100, 0), (100, 0), (100, 0), (0, 0)]),
    );
    let mut detector = Detector::new(Config::default());
    let start = Instant::now();
    let mut now = start;
    assert_eq!(ejected(&detector.sweep(now, &bad, || 0)).len(), 1);
    assert!(detector.is_ejected("host-04"));
    // At exactly 30 s it is not over: "after".
    for _ in 0..3 {
        now += 10 * SECOND;
        assert_eq!(detector.sweep(now, &idle, || 0), []);
    }
    now += 10 * SECOND;
    assert_eq!(
        detector.sweep(now, &idle, || 0),
        [Verdict::Uneject.about(&name(4))]
    );
    // Bad again before the multiplier went down: 60 s.
    now += 10 * SECOND;
    assert_eq!(ejected(&detector.sweep(now, &bad, || 0)).len(), 1);
    now += 60 * SECOND;
    assert_eq!(detector.sweep(now, &idle, || 0), []);
    now += SECOND;
    assert_eq!(unejected(&detector.sweep(now, &idle, || 0)), 1);
    // Two good intervals and the past is forgotten: 30 s again.
    for _ in 0..2 {
        now += 10 * SECOND;
        assert_eq!(detector.sweep(now, &idle, || 0), []);
    }
    now += 10 * SECOND;
    assert_eq!(ejected(&detector.sweep(now, &bad, || 0)).len(), 1);
    assert_eq!(detector.hosts["host-04"].multiplier, 1);
    now += 31 * SECOND;
    assert_eq!(unejected(&detector.sweep(now, &idle, || 0)), 1);
}

#[test]
fn without_a_rule_everyone_is_used_again() {
    let bad = volumes(&[(100, 0), (100, 0), (100, 0), (100, 0), (0, 100)]);
    let mut detector = Detector::new(Config::default());
    detector.sweep(Instant::now(), &bad, || 0);
    let other = Config {
        interval: SECOND,
        ..Config::default()
    };
    assert_eq!(detector.configure(other), [], "still judged");
    assert!(detector.is_ejected("host-04"));
    let decisions = detector.configure(Config::off());
    assert_eq!(decisions, [Verdict::Uneject.about(&name(4))]);
    assert!(!detector.is_ejected("host-04"));
    assert_eq!(detector.sweep(Instant::now(), &bad, || 0), []);
}

#[test]
fn an_instance_that_comes_back_is_a_new_one() {
    let bad = volumes(&[(100, 0), (100, 0), (100, 0), (100, 0), (0, 100)]);
    let mut detector = Detector::new(Config::default());
    let now = Instant::now();
    detector.sweep(now, &bad, || 0);
    assert!(detector.is_ejected("host-04"));
    detector.forget("host-04");
    assert!(!detector.is_ejected("host-04"));
    detector.sweep(now, &bad, || 0);
    assert!(detector.is_ejected("host-04"));
    // Not in the list: gone.
    detector.sweep(now + SECOND, &bad[..4], || 0);
    assert!(!detector.is_ejected("host-04"));
    assert_eq!(detector.hosts.len(), 4);
}

prop_compose! {
    fn some_config()(
        percent in 0_u32..=100,
        factor in 0_u32..3000,
        threshold in 0_u32..=100,
        enforced in 0_u32..=100,
        hosts in 0_u32..6,
        volume in 0_u32..100,
        methods in 1_u8..4,
    ) -> Config {
        Config {
            max_ejection_percent: percent,
            success_rate: (methods & 1 != 0).then_some(SuccessRate {
                stdev_factor: factor,
                enforcement_percentage: enforced,
                minimum_hosts: hosts,
                request_volume: volume,
            }),
            failure_percentage: (methods & 2 != 0).then_some(FailurePercentage {
                threshold,
                enforcement_percentage: enforced,
                minimum_hosts: hosts,
                request_volume: volume,
            }),
            ..Config::default()
        }
    }
}

/// A sweep: seconds since the last one and what ended on each instance.
fn some_sweeps() -> impl Strategy<Value = Vec<(u64, Vec<(u32, u32)>)>> {
    let counts = prop::collection::vec((0_u32..200, 0_u32..200), 12);
    prop::collection::vec((0_u64..100, counts), 1..40)
}

proptest! {
    /// One more ejection than the share allows, since the rule looks before it ejects; never more,
    /// and none at 0 %.
    #[test]
    fn never_more_than_the_limit_is_ejected(
        config in some_config(),
        sweeps in some_sweeps(),
        random: u32,
    ) {
        let percent = usize::try_from(config.max_ejection_percent).unwrap();
        let mut detector = Detector::new(config);
        let mut now = Instant::now();
        for (seconds, counts) in sweeps {
            now += Duration::from_secs(seconds);
            detector.sweep(now, &volumes(&counts), || random);
            let count = detector.hosts.values().filter(|h| h.ejected.is_some()).count();
            prop_assert!(count <= (12 * percent).div_ceil(100));
        }
    }

    /// What the decisions say adds up to what the detector knows.
    #[test]
    fn decisions_tell_every_change(
        config in some_config(),
        sweeps in some_sweeps(),
        random: u32,
    ) {
        let mut detector = Detector::new(config);
        let mut out = BTreeSet::new();
        let mut now = Instant::now();
        for (seconds, counts) in sweeps {
            now += Duration::from_secs(seconds);
            for decision in detector.sweep(now, &volumes(&counts), || random) {
                match decision.verdict {
                    Verdict::Eject(_) => prop_assert!(out.insert(decision.id)),
                    Verdict::Uneject => prop_assert!(out.remove(&decision.id)),
                    Verdict::Spare(..) => prop_assert!(!out.contains(&decision.id)),
                }
            }
            for i in 0..12 {
                prop_assert_eq!(detector.is_ejected(&name(i)), out.contains(&name(i)));
            }
        }
    }

    /// Whatever happened before: when nothing fails any more, all are back after the longest
    /// ejection time, and their past is forgotten.
    #[test]
    fn everyone_comes_back(config in some_config(), sweeps in some_sweeps(), random: u32) {
        let rounds = u32::try_from(sweeps.len()).unwrap() + 1;
        let mut detector = Detector::new(config);
        let mut now = Instant::now();
        for (seconds, counts) in sweeps {
            now += Duration::from_secs(seconds);
            detector.sweep(now, &volumes(&counts), || random);
        }
        let calm = volumes(&[(0, 0); 12]);
        now += 301 * SECOND;
        detector.sweep(now, &calm, || random);
        prop_assert!(detector.hosts.values().all(|h| h.ejected.is_none()));
        for _ in 0..rounds {
            now += SECOND;
            detector.sweep(now, &calm, || random);
        }
        prop_assert!(detector.hosts.values().all(|h| h.multiplier == 0));
    }

    /// A multiplier grows by one with each ejection, falls by one in each sweep in use, and stays
    /// as it is otherwise.
    #[test]
    fn multipliers_follow_the_rule(config in some_config(), sweeps in some_sweeps(), random: u32) {
        let mut detector = Detector::new(config);
        let mut now = Instant::now();
        for (seconds, counts) in sweeps {
            now += Duration::from_secs(seconds);
            let before = detector.hosts.clone();
            detector.sweep(now, &volumes(&counts), || random);
            for (id, host) in &detector.hosts {
                let old = before.get(id).copied().unwrap_or_default();
                let expected = match (old.ejected, host.ejected) {
                    (None, Some(_)) => old.multiplier + 1,
                    (Some(_), _) => old.multiplier,
                    // In use all the time; or ejected for no time at all.
                    (None, None) => old.multiplier.saturating_sub(1),
                };
                prop_assert_eq!(host.multiplier, expected);
            }
        }
    }

    #[test]
    fn the_same_sweeps_decide_the_same(config in some_config(), sweeps in some_sweeps(), seed: u64) {
        let start = Instant::now();
        let run = || {
            let mut detector = Detector::new(config.clone());
            let mut random = fastrand::Rng::with_seed(seed);
            let mut now = start;
            let mut all = Vec::new();
            for (seconds, counts) in &sweeps {
                now += Duration::from_secs(*seconds);
                all.push(detector.sweep(now, &volumes(counts), || random.u32(..)));
            }
            all
        };
        prop_assert_eq!(run(), run());
    }
}
