//! Results in a row, and what several checks say together.

use proptest::prelude::*;

use super::*;

fn with_thresholds(passing: u32, warning: u32, critical: u32) -> CheckDefinition {
    CheckDefinition {
        success_before_passing: passing,
        failures_before_warning: warning,
        failures_before_critical: critical,
        ..definition("tcp", tcp())
    }
}

/// What a check says after each result.
fn said(definition: CheckDefinition, results: &[Status]) -> Vec<Status> {
    let mut catalogue = catalogue();
    let epoch = epoch(&register(
        &mut catalogue,
        checked("a", "s", &[definition]),
        1,
    ));
    let mut run = |result: &Status| {
        ran(&mut catalogue, "a", epoch, *result, "why").unwrap();
        catalogue.entry(&key("a")).unwrap().checks[0].status
    };
    results.iter().map(&mut run).collect()
}

const P: Status = Status::Passing;
const W: Status = Status::Warning;
const C: Status = Status::Critical;

#[test]
fn the_first_result_counts_at_once_whatever_the_thresholds() {
    assert_eq!(said(with_thresholds(3, 3, 3), &[P]), [P]);
    assert_eq!(said(with_thresholds(3, 3, 3), &[W]), [W]);
    assert_eq!(said(with_thresholds(3, 3, 3), &[C]), [C]);
}

#[test]
fn failures_in_a_row_first_warn_and_then_are_critical() {
    let results = [P, C, C, C, C];
    assert_eq!(said(with_thresholds(1, 2, 4), &results), [P, P, W, W, C]);
    // One success begins the count anew, a warning too.
    let results = [P, C, P, C, W, C, C];
    assert_eq!(
        said(with_thresholds(1, 2, 3), &results),
        [P, P, P, P, W, W, W]
    );
}

#[test]
fn successes_in_a_row_are_needed_to_come_back() {
    let results = [P, C, P, P, C, P, P, P];
    assert_eq!(
        said(with_thresholds(3, 1, 1), &results),
        [P, C, C, C, C, C, C, P]
    );
}

/// The rule by its words: look back over all results instead of counting.
fn by_looking_back(
    passing: usize,
    warning: usize,
    critical: usize,
    results: &[Status],
) -> Vec<Status> {
    let mut now = C;
    let mut all = Vec::new();
    for end in 1..=results.len() {
        let last = results[end - 1];
        let failing = last == C;
        let same = |result: &&Status| (**result == C) == failing;
        let run = results[..end].iter().rev().take_while(same).count();
        // Before the first result everything was as if it had come often enough of its kind.
        let run = if run == end { run + 100 } else { run };
        now = match (failing, run) {
            (true, run) if run >= critical => C,
            (true, run) if run >= warning => W,
            (false, run) if run >= passing => last,
            _ => now,
        };
        all.push(now);
    }
    all
}

proptest! {
    #[test]
    fn counting_is_looking_back(
        passing in 1..5_u32,
        critical in 1..6_u32,
        share in 0..100_u32,
        results in prop::collection::vec(prop::sample::select(vec![P, P, W, C, C, C]), 1..40)
    ) {
        let warning = 1 + (critical - 1) * share / 100;
        let definition = with_thresholds(passing, warning, critical);
        let [passing, warning, critical] = [passing, warning, critical].map(|n| n as usize);
        let expected = by_looking_back(passing, warning, critical, &results);
        prop_assert_eq!(said(definition, &results), expected);
    }

    /// Maintenance over critical over warning over passing, of own checks and the node's.
    #[test]
    fn the_worst_counts(
        mine in prop::collection::vec(prop::sample::select(vec![P, W, C]), 0..4),
        nodes in prop::collection::vec(prop::sample::select(vec![P, W, C]), 0..3),
        maintained: bool,
        node_maintained: bool,
    ) {
        let reported = |status: &Status, n: usize| CheckDefinition {
            initial: Some(*status),
            ..definition(&format!("check {n}"), CheckKind::Reported)
        };
        let checks = |all: &[Status]| -> Vec<CheckDefinition> {
            all.iter().enumerate().map(|(n, status)| reported(status, n)).collect()
        };
        let mut catalogue = catalogue();
        let node = Node {
            name: HOME.to_owned(),
            checks: checks(&nodes).into_iter().map(Arc::new).collect(),
            ..Node::default()
        };
        catalogue.register_node(node, START).unwrap();
        register(&mut catalogue, checked("a", "s", &checks(&mine)), 1);
        let why = || Some("why".to_owned());
        if maintained {
            catalogue.set_maintenance(&own("a"), why(), START).unwrap();
        }
        if node_maintained {
            let node = Owner::Node(HOME.to_owned());
            catalogue.set_maintenance(&node, why(), START).unwrap();
        }
        let all: Vec<_> = mine.iter().chain(&nodes).copied().collect();
        let expected = if maintained || node_maintained {
            Status::Maintenance
        } else if all.contains(&C) {
            C
        } else if all.contains(&W) {
            W
        } else {
            P
        };
        prop_assert_eq!(status(&catalogue, "a").0, expected);
    }
}
