//! Random operations: every revision moves exactly when its answer does, and never back.

use proptest::prelude::*;

use super::*;

const IDS: [&str; 3] = ["a", "b", "c"];
const SERVICES: [&str; 2] = ["s", "t"];
const NODES: [&str; 2] = ["home", "away"];
const TAGS: [&[&str]; 3] = [&[], &["x"], &["x", "y"]];

#[derive(Debug, Clone)]
enum Op {
    Register {
        id: usize,
        node: usize,
        service: usize,
        port: u16,
        tags: usize,
        kind: usize,
    },
    Deregister(usize, usize),
    DeregisterNode(usize),
    /// With metadata, or without.
    RegisterNode(usize, bool),
    /// With the current epoch, or with an older one.
    Ran {
        id: usize,
        node: usize,
        status: Status,
        stale: bool,
    },
    Report(usize, usize, Status),
    Maintain(usize, usize, bool),
    MaintainNode(usize, bool),
    NodeCheck(usize, Status),
    Heartbeat(usize, StreamId),
    HeartbeatEnded(usize, StreamId),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (id, node) = (0..IDS.len(), 0..NODES.len());
    let said = prop::sample::select(vec![Status::Passing, Status::Warning, Status::Critical]);
    let place = (id.clone(), node.clone());
    prop_oneof![
        4 => (place.clone(), 0..SERVICES.len(), 80..82_u16, 0..TAGS.len(), 0..5_usize).prop_map(
            |((id, node), service, port, tags, kind)| Op::Register { id, node, service, port, tags, kind }
        ),
        1 => place.clone().prop_map(|(id, node)| Op::Deregister(id, node)),
        1 => node.clone().prop_map(Op::DeregisterNode),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, meta)| Op::RegisterNode(node, meta)),
        5 => (place.clone(), said.clone(), prop::bool::weighted(0.2))
            .prop_map(|((id, node), status, stale)| Op::Ran { id, node, status, stale }),
        3 => (place.clone(), said.clone()).prop_map(|((id, node), status)| Op::Report(id, node, status)),
        2 => (place, any::<bool>()).prop_map(|((id, node), on)| Op::Maintain(id, node, on)),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, on)| Op::MaintainNode(node, on)),
        1 => (node, said).prop_map(|(node, status)| Op::NodeCheck(node, status)),
        2 => (id.clone(), 0..3_u64).prop_map(|(id, stream)| Op::Heartbeat(id, stream)),
        2 => (id, 0..3_u64).prop_map(|(id, stream)| Op::HeartbeatEnded(id, stream)),
        2 => (0..8_000_u64).prop_map(Op::Wait),
    ]
}

fn built(op: &Op) -> Instance {
    let Op::Register {
        id,
        node,
        service,
        port,
        tags,
        kind,
    } = op
    else {
        panic!("not a registration");
    };
    let ttl = CheckKind::Ttl {
        ttl: Duration::from_secs(5),
    };
    let alias = CheckKind::Alias {
        node: NODES[0].to_owned(),
        instance_id: "a".to_owned(),
    };
    let dying = CheckDefinition {
        deregister_critical_after: Some(Duration::from_secs(6)),
        ..definition("tcp", tcp())
    };
    let checks = match kind {
        0 => vec![definition("tcp", tcp())],
        1 => vec![definition("heartbeat", CheckKind::Standing)],
        2 => vec![dying, definition("ttl", ttl)],
        3 => vec![definition("alias", alias), definition("ttl", ttl)],
        _ => Vec::new(),
    };
    let mut instance = checked(IDS[*id], SERVICES[*service], &checks);
    instance.node = NODES[*node].to_owned();
    instance.port = *port;
    instance.tags = TAGS[*tags].iter().map(|&tag| tag.to_owned()).collect();
    instance
}

fn epoch_of(catalogue: &Catalogue, key: &Key) -> u64 {
    let record = catalogue.records.get(key);
    let mut checks = record.into_iter().flat_map(|record| &record.checks);
    let tcp = checks.find(|check| check.view.definition.check_id == "tcp");
    tcp.map_or(0, |check| check.epoch)
}

fn apply(catalogue: &mut Catalogue, op: &Op, now: UnixMillis) {
    let place = |id: usize, node: usize| Key::new(NODES[node], IDS[id]);
    let check = |key: Key, check_id: &str| CheckRef {
        owner: Owner::Instance(key),
        check_id: check_id.to_owned(),
    };
    let why = |on: bool| on.then(|| "why".to_owned());
    match op {
        Op::Register { .. } => drop(catalogue.register(built(op), now).unwrap()),
        Op::Deregister(id, node) => drop(catalogue.deregister(&place(*id, *node), now)),
        Op::DeregisterNode(node) => drop(catalogue.deregister_node(NODES[*node], now)),
        Op::RegisterNode(node, meta) => {
            let metadata = meta.then(|| ("rack".to_owned(), "7".to_owned()));
            let node = Node {
                name: NODES[*node].to_owned(),
                metadata: metadata.into_iter().collect(),
                ..Node::default()
            };
            catalogue.register_node(node, now).unwrap();
        }
        Op::Ran {
            id,
            node,
            status,
            stale,
        } => {
            let key = place(*id, *node);
            let epoch = epoch_of(catalogue, &key);
            let epoch = if *stale { epoch.wrapping_sub(1) } else { epoch };
            drop(catalogue.ran(&check(key, "tcp"), epoch, (*status, "said"), now));
        }
        Op::Report(id, node, status) => {
            let check = check(place(*id, *node), "ttl");
            drop(catalogue.report(&check, (*status, "said"), now));
        }
        Op::Maintain(id, node, on) => {
            let owner = Owner::Instance(place(*id, *node));
            drop(catalogue.set_maintenance(&owner, why(*on), now));
        }
        Op::MaintainNode(node, on) => {
            let owner = Owner::Node(NODES[*node].to_owned());
            drop(catalogue.set_maintenance(&owner, why(*on), now));
        }
        Op::NodeCheck(node, status) => {
            let owner = Owner::Node(NODES[*node].to_owned());
            let reported = definition("disk", CheckKind::Reported);
            if catalogue.put_check(&owner, reported, now).is_ok() {
                let check = CheckRef {
                    owner,
                    check_id: "disk".to_owned(),
                };
                catalogue.report(&check, (*status, "said"), now).unwrap();
            }
        }
        Op::Heartbeat(id, stream) => drop(catalogue.heartbeat(&place(*id, 0), *stream, now)),
        Op::HeartbeatEnded(id, stream) => {
            drop(catalogue.heartbeat_ended(&place(*id, 0), *stream, now));
        }
        Op::Wait(_) => {}
    }
}

/// Everything that is rendered of a service in a view, as text: without outputs, and in the view of
/// those that registered without anything that is about health.
fn rendered(catalogue: &Catalogue, service: &str, view: View) -> (u64, Vec<String>) {
    let snapshot = catalogue.snapshot(service);
    let check = |check: &Arc<CheckView>| {
        let id = &check.definition.check_id;
        format!(
            "{id} {:?} {} {:?}",
            check.status, check.reason, check.status_time
        )
    };
    let entry = |entry: &Arc<Entry>| {
        let registered = format!("{:?} {:?}", entry.instance, entry.node.node);
        if view == View::Registered {
            return registered;
        }
        let checks: Vec<_> = entry.all_checks().map(check).collect();
        format!(
            "{registered} {:?} {} {} {:?} {:?} {:?} {checks:?}",
            entry.status,
            entry.reason,
            entry.flapping,
            entry.status_time,
            entry.maintenance,
            entry.node.maintenance,
        )
    };
    let answer = snapshot.entries(view).map(entry).collect();
    (snapshot.revision(view), answer)
}

/// The answers about more than one service, as text.
fn overview(catalogue: &Catalogue) -> [(u64, Vec<String>); 4] {
    let indexes = catalogue.indexes();
    let services = catalogue.tags();
    let services = services.map(|(name, tags)| format!("{name} {:?}", tags.collect::<Vec<_>>()));
    let check = |check: &Arc<CheckView>| format!("{:?} {:?}", check.definition, check.status);
    let (mut nodes, mut registered, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    for node in catalogue.nodes() {
        nodes.push(format!("{:?}", node.node));
        registered.push(format!("{:?}", node.node));
        // Every node has one check that nobody registered.
        let (name, metadata) = (&node.node.name, &node.node.metadata);
        checks.push(format!("{name} {metadata:?} {:?}", node.maintenance));
        checks.extend(node.checks.iter().map(check));
        for entry in catalogue.node(name).unwrap().1 {
            registered.push(format!("{:?}", entry.instance));
            let (service, tags) = (&entry.instance.service, &entry.instance.tags);
            let of = |said: String| format!("{service} {tags:?} {said}");
            checks.extend(entry.checks.iter().map(check).map(of));
            checks.extend(entry.maintenance.clone().map(of));
            checks.extend(entry.flapping.then(|| of("flapping".to_owned())));
        }
    }
    [
        (indexes.services, services.collect()),
        (indexes.nodes, nodes),
        (indexes.registrations, registered),
        (indexes.checks, checks),
    ]
}

proptest! {
    #[test]
    fn revisions_move_iff_answers_do_and_never_back(ops in prop::collection::vec(op(), 1..60)) {
        let mut catalogue = catalogue();
        let mut now = START;
        let views = [View::Passing, View::All, View::Registered];
        let places: Vec<_> = SERVICES.into_iter().flat_map(|s| views.map(|view| (s, view))).collect();
        for op in &ops {
            let look = |catalogue: &Catalogue| -> Vec<_> {
                let one = |(service, view): &(&str, View)| rendered(catalogue, service, *view);
                places.iter().map(one).collect()
            };
            let (before, all_before) = (look(&catalogue), overview(&catalogue));
            now = now.after(Duration::from_millis(if let Op::Wait(ms) = op { *ms } else { 1 }));
            if matches!(op, Op::Wait(_)) {
                catalogue.sweep(now, 7);
            }
            apply(&mut catalogue, op, now);
            for ((place, was), is) in places.iter().zip(before).zip(look(&catalogue)) {
                prop_assert!(is.0 > 0 && is.0 >= was.0, "{:?} went back after {:?}", place, op);
                prop_assert_eq!(
                    is.0 != was.0, is.1 != was.1,
                    "revision and answer disagree in {:?} after {:?}: {:#?}", place, op, is.1
                );
            }
            for (was, is) in all_before.into_iter().zip(overview(&catalogue)) {
                prop_assert!(is.0 >= was.0);
                prop_assert!(is.0 != was.0 || is.1 == was.1, "{:?} moved nothing: {:?} {:?}", op, was.1, is.1);
            }
        }
        // Of each service there is one newest change.
        let listed = catalogue.snapshots(0);
        let mut names: Vec<_> = listed.iter().map(|s| s.service().to_owned()).collect();
        names.dedup();
        prop_assert_eq!(names.len(), listed.len());
        prop_assert!(listed.is_sorted_by_key(|s| s.revision(View::All)));
    }
}
