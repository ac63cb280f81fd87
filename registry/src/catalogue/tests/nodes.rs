//! Nodes, maintenance and aliases.

use super::*;

fn reported(check_id: &str) -> CheckDefinition {
    definition(check_id, CheckKind::Reported)
}

fn node_check(check_id: &str) -> CheckRef {
    CheckRef {
        owner: Owner::Node(HOME.to_owned()),
        check_id: check_id.to_owned(),
    }
}

fn home(checks: &[CheckDefinition]) -> Node {
    Node {
        name: HOME.to_owned(),
        address: "10.9.9.9".to_owned(),
        checks: checks.iter().cloned().map(Arc::new).collect(),
        ..Node::default()
    }
}

#[test]
fn a_node_that_nobody_registered_goes_with_its_last_instance() {
    let mut catalogue = catalogue();
    register(&mut catalogue, standing("a", "s"), 1);
    let known = catalogue.indexes().nodes;
    register(&mut catalogue, standing("b", "t"), 1);
    assert_eq!(catalogue.indexes().nodes, known);
    catalogue.deregister(&key("a"), START).unwrap();
    assert_eq!(catalogue.node(HOME).unwrap().1.len(), 1);
    let effects = catalogue.deregister(&key("b"), START).unwrap();
    assert!(catalogue.node(HOME).is_none());
    assert!(effects.stale.contains(&Owner::Node(HOME.to_owned())));
    assert!(catalogue.indexes().nodes > known);
    assert!(catalogue.stored(&Owner::Node(HOME.to_owned())).is_none());
}

#[test]
fn a_check_of_a_node_counts_for_each_of_its_instances() {
    let mut catalogue = catalogue();
    for (id, service) in [("a", "s"), ("b", "t")] {
        register(&mut catalogue, standing(id, service), 1);
    }
    catalogue
        .register_node(home(&[reported("disk")]), START)
        .unwrap();
    for id in ["a", "b"] {
        assert_eq!(status(&catalogue, id), critical("disk: not checked yet"));
    }
    let fine = (Status::Passing, "");
    let effects = catalogue.report(&node_check("disk"), fine, START).unwrap();
    assert_eq!(effects.turned.len(), 2);
    assert_eq!(status(&catalogue, "b"), PASSING);
    assert!(catalogue.remove_check(&node_check("disk"), START).is_some());
    assert!(catalogue.remove_check(&node_check("disk"), START).is_none());
    assert!(catalogue.entry(&key("a")).unwrap().node.checks.is_empty());
}

#[test]
fn removing_a_node_removes_what_is_on_it() {
    let mut catalogue = catalogue();
    catalogue.register_node(home(&[]), START).unwrap();
    register(&mut catalogue, instance("a", "s"), 1);
    register(
        &mut catalogue,
        Instance {
            node: "other".to_owned(),
            ..standing("a", "s")
        },
        1,
    );
    let effects = catalogue.deregister_node(HOME, START).unwrap();
    assert_eq!(effects.polling, [Polling::Stop(check_of("a", "tcp"))]);
    assert_eq!(catalogue.snapshot("s").len(), 1);
    assert!(catalogue.deregister_node(HOME, START).is_none());
}

#[test]
fn an_instance_without_an_address_is_checked_where_its_node_is() {
    let mut catalogue = catalogue();
    catalogue.register_node(home(&[]), START).unwrap();
    let addressless = Instance {
        address: String::new(),
        ..instance("a", "s")
    };
    let effects = register(&mut catalogue, addressless, 1);
    let address = |effects: &Effects| match &effects.polling[..] {
        [Polling::Start(target)] => target.address.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(address(&effects), "10.9.9.9");
    let moved = Node {
        address: "10.9.9.8".to_owned(),
        ..home(&[])
    };
    let effects = catalogue.register_node(moved, START).unwrap();
    assert_eq!(address(&effects), "10.9.9.8");
}

#[test]
fn maintenance_lies_over_everything_and_checks_go_on_below() {
    let mut catalogue = catalogue();
    let epoch = passing(&mut catalogue, instance("a", "s"));
    let out = Some("new disk".to_owned());
    let effects = catalogue
        .set_maintenance(&own("a"), out.clone(), START)
        .unwrap();
    assert_eq!(
        (wakes(&effects), effects.stale.contains(&own("a"))),
        (true, true)
    );
    assert_eq!(
        status(&catalogue, "a"),
        (Status::Maintenance, "new disk".to_owned())
    );
    assert_eq!(catalogue.snapshot("s").entries(View::Passing).count(), 0);
    // Saying it again changes nothing.
    let again = catalogue.set_maintenance(&own("a"), out, START).unwrap();
    assert!(again.snapshots.is_empty() && again.stale.is_empty());
    ran(&mut catalogue, "a", epoch, Status::Critical, "down").unwrap();
    assert_eq!(status(&catalogue, "a").0, Status::Maintenance);
    catalogue.set_maintenance(&own("a"), None, START).unwrap();
    assert_eq!(status(&catalogue, "a"), critical("down"));
    assert!(
        catalogue
            .set_maintenance(&own("nobody"), None, START)
            .is_none()
    );
}

#[test]
fn maintenance_survives_a_new_registration() {
    let mut catalogue = catalogue();
    passing(&mut catalogue, instance("a", "s"));
    let out = Some(String::new());
    catalogue.set_maintenance(&own("a"), out, START).unwrap();
    let mut changed = instance("a", "s");
    changed.weight = 7;
    register(&mut catalogue, changed, 5);
    assert_eq!(status(&catalogue, "a").0, Status::Maintenance);
}

fn alias(of: &str) -> CheckDefinition {
    let kind = CheckKind::Alias {
        node: HOME.to_owned(),
        instance_id: of.to_owned(),
    };
    definition("alias", kind)
}

#[test]
fn an_alias_says_what_the_other_s_checks_say() {
    let mut catalogue = catalogue();
    register(&mut catalogue, checked("sidecar", "p", &[alias("a")]), 1);
    assert_eq!(status(&catalogue, "sidecar").0, Status::Critical);
    let epoch = passing(&mut catalogue, instance("a", "s"));
    assert_eq!(status(&catalogue, "sidecar"), PASSING);
    ran(&mut catalogue, "a", epoch, Status::Warning, "slow").unwrap();
    assert_eq!(
        status(&catalogue, "sidecar"),
        (Status::Warning, "slow".to_owned())
    );
    catalogue.deregister(&key("a"), START).unwrap();
    assert_eq!(status(&catalogue, "sidecar").0, Status::Critical);
}

#[test]
fn a_circle_of_aliases_does_not_hold_itself_up_or_down() {
    let mut catalogue = catalogue();
    let own_check = || reported("own");
    register(
        &mut catalogue,
        checked("a", "s", &[own_check(), alias("b")]),
        1,
    );
    register(
        &mut catalogue,
        checked("b", "s", &[own_check(), alias("a")]),
        1,
    );
    let say = |catalogue: &mut Catalogue, id: &str, status| {
        let check = check_of(id, "own");
        catalogue.report(&check, (status, "said"), START).unwrap();
    };
    say(&mut catalogue, "a", Status::Passing);
    say(&mut catalogue, "b", Status::Passing);
    assert_eq!(status(&catalogue, "a"), PASSING);
    say(&mut catalogue, "a", Status::Critical);
    assert_eq!(status(&catalogue, "b"), critical("alias: said"));
    say(&mut catalogue, "a", Status::Passing);
    assert_eq!(
        (status(&catalogue, "a"), status(&catalogue, "b")),
        (PASSING, PASSING)
    );
}

#[test]
fn only_what_nobody_runs_is_reported() {
    let mut catalogue = catalogue();
    register(&mut catalogue, instance("a", "s"), 1);
    let fine = (Status::Passing, "");
    let mut refused = |check: CheckRef| catalogue.report(&check, fine, START).unwrap_err();
    assert_eq!(refused(check_of("a", "tcp")), NotReported::NotReportable);
    assert_eq!(refused(check_of("a", "x")), NotReported::UnknownCheck);
    assert_eq!(refused(check_of("x", "x")), NotReported::UnknownOwner);
}

#[test]
fn one_id_on_two_nodes_is_two_instances() {
    let mut catalogue = catalogue();
    for node in ["one", "two"] {
        let node = node.to_owned();
        register(
            &mut catalogue,
            Instance {
                node,
                ..standing("a", "s")
            },
            1,
        );
    }
    assert_eq!(catalogue.snapshot("s").len(), 2);
    catalogue.deregister(&Key::new("one", "a"), START).unwrap();
    assert_eq!(catalogue.snapshot("s").len(), 1);
}

#[test]
fn an_owner_has_so_many_checks_and_one_of_them_may_be_replaced() {
    let mut catalogue = catalogue();
    register(&mut catalogue, checked("a", "s", &[]), 1_001);
    let mut put = |number: usize, name: &str| {
        let mut check = definition(&format!("c-{number}"), CheckKind::Reported);
        check.name = name.to_owned();
        let put = catalogue.put_check(&own("a"), check, UnixMillis(1_002));
        put.map(drop)
    };
    for number in 0..limits::CHECKS_MAX {
        assert!(put(number, "first").is_ok(), "{number}");
    }
    assert!(matches!(
        put(limits::CHECKS_MAX, "first"),
        Err(NotAdded::TooMany)
    ));
    assert!(put(0, "second").is_ok());
    let names = |catalogue: &Catalogue| {
        let entry = catalogue.entry(&key("a")).unwrap();
        let checks = entry.checks.iter();
        checks
            .map(|check| check.definition.name.clone())
            .collect::<Vec<_>>()
    };
    let names = names(&catalogue);
    assert_eq!(names.len(), limits::CHECKS_MAX);
    assert_eq!(names.iter().filter(|name| *name == "second").count(), 1);
}

#[test]
fn instances_are_counted_by_their_states_and_in_all() {
    let mut catalogue = catalogue();
    for (id, status) in [
        ("a", Status::Passing),
        ("b", Status::Passing),
        ("c", Status::Warning),
        ("d", Status::Critical),
    ] {
        let mut reported = definition("r", CheckKind::Reported);
        reported.initial = Some(status);
        register(&mut catalogue, checked(id, "s", &[reported]), 1_001);
    }
    let counts = catalogue.snapshot("s").counts();
    let got = [
        counts.passing,
        counts.warning,
        counts.critical,
        counts.maintenance,
    ];
    assert_eq!((got, counts.total()), ([2, 1, 1, 0], 4));
}
