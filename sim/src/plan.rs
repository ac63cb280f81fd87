//! What a run does: which payments, and which faults when. Pure: all of it follows from the seed.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use fastrand::Rng;

/// The machines that may be crashed.
pub(crate) const SERVERS: [&str; 7] = [
    "registry",
    "invoice-1",
    "invoice-2",
    "accounting-1",
    "accounting-2",
    "payment-1",
    "payment-2",
];

/// Those who pay.
pub(crate) const CLIENTS: [&str; 2] = ["client-1", "client-2"];

/// When faults begin; before, everything finds each other.
const FAULTS_FROM: u64 = 1_000;

/// When the last one begins.
const FAULTS_UNTIL: u64 = 12_000;

/// A payment that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The id that its clients send.
    pub(crate) id: String,
    /// What becomes of it when all goes well.
    pub(crate) kind: Kind,
    /// In pence.
    pub(crate) amount: i64,
    /// Who sends it, as indexes of [`CLIENTS`]: two of them send the same id.
    pub(crate) senders: Vec<usize>,
    /// When they begin.
    pub(crate) at: Duration,
    /// What its clients ask to have paid back, all at once, when they know that it is paid.
    pub(crate) refunds: Vec<Part>,
}

/// A part of a payment that is asked back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The id that its clients send.
    pub(crate) id: String,
    /// In pence; all that is left, if none.
    pub(crate) amount: Option<i64>,
}

/// What becomes of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is paid.
    Paid,
    /// Money comes back: it is paid, by a credit note.
    Refund,
    /// The ledger refuses it: there is no such account.
    Refused,
    /// Its first client asks, so long after it, to have it cancelled: it is undone or paid, whole.
    Cancelled(Duration),
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What two machines send each other is lost.
    Partition(&'static str, &'static str),
    /// What the first sends to the second is lost, and not the other way.
    OneWay(&'static str, &'static str),
    /// What two machines send each other arrives when it is over, all at once.
    Hold(&'static str, &'static str),
    /// What two machines send each other takes this long.
    Slow(&'static str, &'static str, Duration),
    /// A machine loses power, and is back when it is over.
    Crash(&'static str),
}

/// A fault and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) during: Range<Duration>,
    pub(crate) fault: Fault,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) intents: Vec<Intent>,
    pub(crate) events: Vec<Event>,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let intents = (0..random.usize(8..=14)).map(|index| intent(seed, index, &mut random));
        let intents: Vec<_> = intents.collect();
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..random.usize(3..=9) {
            let event = event(&mut random);
            if events.iter().all(|other| !clash(other, &event)) {
                events.push(event);
            }
        }
        Self {
            seed,
            intents,
            events,
        }
    }

    /// When the last fault is over.
    pub(crate) fn faults_end(&self) -> Duration {
        let ends = self.events.iter().map(|event| event.during.end);
        ends.max().unwrap_or_default()
    }

    /// How many faults of each kind.
    pub(crate) fn counted(&self) -> BTreeMap<&'static str, usize> {
        let mut counted = BTreeMap::new();
        for event in &self.events {
            *counted.entry(event.fault.name()).or_default() += 1;
        }
        counted
    }
}

impl Fault {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Partition(..) => "partition",
            Self::OneWay(..) => "one-way partition",
            Self::Hold(..) => "hold",
            Self::Slow(..) => "slow",
            Self::Crash(_) => "crash",
        }
    }

    /// The link that it is about, in one order.
    fn link(&self) -> Option<(&'static str, &'static str)> {
        match *self {
            Self::Partition(a, b) | Self::OneWay(a, b) | Self::Hold(a, b) | Self::Slow(a, b, _) => {
                Some((a.min(b), a.max(b)))
            }
            Self::Crash(_) => None,
        }
    }
}

fn intent(seed: u64, index: usize, random: &mut Rng) -> Intent {
    let kind = match random.u32(..100) {
        0..63 => Kind::Paid,
        63..71 => Kind::Refund,
        71..85 => Kind::Cancelled(Duration::from_millis(random.u64(0..300))),
        _ => Kind::Refused,
    };
    let amount = random.i64(1..100_000);
    let parts = match (kind, random.u32(..10)) {
        (Kind::Paid, 0..4) => random.usize(1..=3),
        _ => 0,
    };
    Intent {
        id: format!("pay-{seed}-{index}"),
        kind,
        amount,
        senders: match random.u32(..10) {
            0 => vec![0, 1],
            other => vec![usize::from(other % 2 == 0)],
        },
        at: Duration::from_millis(random.u64(0..FAULTS_UNTIL)),
        // Together they may be more than was paid.
        refunds: (0..parts)
            .map(|part| Part {
                id: format!("back-{seed}-{index}-{part}"),
                amount: (random.u32(..4) > 0).then(|| random.i64(1..=amount)),
            })
            .collect(),
    }
}

fn event(random: &mut Rng) -> Event {
    let begin = random.u64(FAULTS_FROM..FAULTS_UNTIL);
    let (fault, longest) = match random.u32(..100) {
        0..35 => (Fault::Crash(pick(random, &SERVERS)), 4_000),
        kind => {
            let (a, b) = link(random);
            match kind {
                35..55 => (Fault::Partition(a, b), 8_000),
                55..67 => (Fault::OneWay(a, b), 8_000),
                67..82 => (Fault::Hold(a, b), 4_000),
                _ => {
                    let latency = Duration::from_millis(random.u64(20..1_500));
                    (Fault::Slow(a, b, latency), 8_000)
                }
            }
        }
    };
    let end = begin + random.u64(100..longest);
    Event {
        during: Duration::from_millis(begin)..Duration::from_millis(end),
        fault,
    }
}

fn pick(random: &mut Rng, names: &[&'static str]) -> &'static str {
    names
        .get(random.usize(..names.len()))
        .copied()
        .unwrap_or("registry")
}

/// Two machines that speak to each other.
fn link(random: &mut Rng) -> (&'static str, &'static str) {
    let (payment, client) = (&SERVERS[5..], &CLIENTS[..]);
    match random.u32(..10) {
        0..3 => (pick(random, payment), pick(random, &SERVERS[1..3])),
        3..6 => (pick(random, payment), pick(random, &SERVERS[3..5])),
        6..8 => (pick(random, client), pick(random, payment)),
        8 => ("registry", pick(random, &SERVERS[1..])),
        _ => ("registry", pick(random, client)),
    }
}

/// Whether two faults are about the same thing at the same time.
fn clash(one: &Event, two: &Event) -> bool {
    let together = one.during.start < two.during.end && two.during.start < one.during.end;
    let same = match (&one.fault, &two.fault) {
        (Fault::Crash(a), Fault::Crash(b)) => a == b,
        (a, b) => a.link().is_some() && a.link() == b.link(),
    };
    together && same
}
