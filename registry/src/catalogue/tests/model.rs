//! Random operations on the catalogue and on a model too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const IDS: [&str; 3] = ["a", "b", "c"];
const SERVICES: [&str; 3] = ["s", "t", "u"];
const STREAMS: StreamId = 3;

#[derive(Debug, Clone)]
enum Op {
    Register {
        id: usize,
        service: usize,
        port: u16,
        weight: u32,
        polled: bool,
    },
    Deregister(usize),
    /// With the current epoch, or with an older one.
    Report {
        id: usize,
        passes: bool,
        stale: bool,
    },
    Heartbeat(usize, StreamId),
    HeartbeatEnded(usize, StreamId),
}

fn op() -> impl Strategy<Value = Op> {
    let id = 0..IDS.len();
    prop_oneof![
        3 => (id.clone(), 0..SERVICES.len(), 80..82_u16, 1..3_u32, prop::bool::weighted(0.8))
            .prop_map(|(id, service, port, weight, polled)| Op::Register {
                id, service, port, weight, polled,
            }),
        1 => id.clone().prop_map(Op::Deregister),
        4 => (id.clone(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(id, passes, stale)| Op::Report { id, passes, stale }),
        2 => (id.clone(), 0..STREAMS).prop_map(|(id, stream)| Op::Heartbeat(id, stream)),
        2 => (id, 0..STREAMS).prop_map(|(id, stream)| Op::HeartbeatEnded(id, stream)),
    ]
}

/// What is known of one instance, as flat as it gets.
#[derive(Debug, Clone)]
struct Known {
    instance: Instance,
    passes: bool,
    reason: &'static str,
    since: (u64, u64),
    streams: BTreeSet<StreamId>,
}

/// What anyone can see of one service: everything that is rendered of each instance.
type Answer = Vec<(Instance, bool, String, (u64, u64))>;

#[derive(Debug, Default)]
struct Model(BTreeMap<&'static str, Known>);

impl Model {
    fn apply(&mut self, op: &Op, now: u64) {
        match op {
            Op::Register { id, .. } => {
                let instance = built(op);
                let polled = instance.check.kind != CheckKind::None;
                let fresh = Known {
                    passes: !polled,
                    reason: if polled { "not checked yet" } else { "" },
                    since: (now, now),
                    streams: BTreeSet::new(),
                    instance,
                };
                match self.0.get_mut(IDS[*id]) {
                    None => {
                        self.0.insert(IDS[*id], fresh);
                    }
                    Some(known) => {
                        let same = known.instance.port == fresh.instance.port
                            && known.instance.check == fresh.instance.check;
                        known.instance = fresh.instance;
                        if !same || !polled {
                            known.turn(fresh.passes, fresh.reason, now);
                        }
                    }
                }
            }
            Op::Deregister(id) => {
                self.0.remove(IDS[*id]);
            }
            Op::Report { stale: true, .. } => {}
            Op::Report { id, passes, .. } => {
                if let Some(known) = self.0.get_mut(IDS[*id]) {
                    known.turn(*passes, if *passes { "" } else { "refused" }, now);
                }
            }
            Op::Heartbeat(id, stream) => {
                if let Some(known) = self.0.get_mut(IDS[*id])
                    && known.streams.insert(*stream)
                    && known.instance.check.kind == CheckKind::None
                {
                    known.turn(true, "", now);
                }
            }
            Op::HeartbeatEnded(id, stream) => {
                if let Some(known) = self.0.get_mut(IDS[*id])
                    && known.streams.remove(stream)
                    && known.streams.is_empty()
                {
                    known.turn(false, "heartbeat lost", now);
                }
            }
        }
    }

    fn answer(&self, service: &str, view: View) -> Answer {
        self.0
            .values()
            .filter(|k| k.instance.service == service && (k.passes || view == View::All))
            .map(|k| (k.instance.clone(), k.passes, k.reason.to_owned(), k.since))
            .collect()
    }
}

impl Known {
    fn turn(&mut self, passes: bool, reason: &'static str, now: u64) {
        if self.passes != passes {
            self.since.1 = now;
        }
        (self.passes, self.reason) = (passes, reason);
    }
}

fn built(op: &Op) -> Instance {
    let Op::Register {
        id,
        service,
        port,
        weight,
        polled,
    } = op
    else {
        panic!("not a registration");
    };
    let mut instance = instance(IDS[*id], SERVICES[*service]);
    (instance.port, instance.weight) = (*port, *weight);
    if !polled {
        instance.check.kind = CheckKind::None;
    }
    instance
}

fn run(catalogue: &mut Catalogue, epochs: &mut BTreeMap<usize, u64>, op: &Op, now: UnixMillis) {
    let (id, effects) = match op {
        Op::Register { id, .. } => (
            id,
            catalogue.register(built(op), now).ok().map(|done| done.1),
        ),
        Op::Deregister(id) => (id, catalogue.deregister(IDS[*id])),
        Op::Report { id, passes, stale } => {
            let epoch = catalogue.epoch_of(IDS[*id]).unwrap_or_default();
            let epoch = if *stale { epoch.wrapping_sub(1) } else { epoch };
            let outcome = if *passes { Ok(()) } else { Err("refused") };
            (id, catalogue.report(IDS[*id], epoch, outcome, now))
        }
        Op::Heartbeat(id, stream) => (id, catalogue.heartbeat(IDS[*id], *stream, now)),
        Op::HeartbeatEnded(id, stream) => (id, catalogue.heartbeat_ended(IDS[*id], *stream, now)),
    };
    if let Some(Polling::Start(target)) = effects.and_then(|effects| effects.polling) {
        let before = epochs.insert(*id, target.epoch);
        assert!(before < Some(target.epoch), "an epoch came twice");
    }
}

fn seen(catalogue: &Catalogue, service: &str, view: View) -> (u64, Answer) {
    let snapshot = catalogue.snapshot(service);
    let answer = snapshot
        .entries(view)
        .map(|entry| {
            let passes = entry.status == Status::Passing;
            let since = (entry.register_time.0, entry.status_time.0);
            (entry.instance.clone(), passes, entry.reason.clone(), since)
        })
        .collect();
    (snapshot.revision(view), answer)
}

proptest! {
    #[test]
    fn the_catalogue_is_the_model_and_revisions_move_iff_answers_do(
        ops in prop::collection::vec(op(), 1..60)
    ) {
        let mut catalogue = catalogue();
        let mut model = Model::default();
        let mut epochs = BTreeMap::new();
        for (step, op) in (2_000..).zip(&ops) {
            let mut before = BTreeMap::new();
            for service in SERVICES {
                for view in [View::Passing, View::All] {
                    before.insert((service, view == View::All), seen(&catalogue, service, view));
                }
            }
            run(&mut catalogue, &mut epochs, op, UnixMillis(step));
            model.apply(op, step);
            for service in SERVICES {
                for view in [View::Passing, View::All] {
                    let (revision, answer) = seen(&catalogue, service, view);
                    let (was_revision, was) = &before[&(service, view == View::All)];
                    prop_assert_eq!(&answer, &model.answer(service, view), "after {:?}", op);
                    prop_assert!(revision > 0);
                    prop_assert!(revision >= *was_revision, "a revision went back");
                    prop_assert_eq!(
                        revision != *was_revision,
                        answer != *was,
                        "revision and answer disagree in {:?} after {:?}", view, op
                    );
                }
            }
        }
    }
}
