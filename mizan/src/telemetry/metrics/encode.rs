//! Tallies to families of samples, in the order of the list of names.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit as Suffix,
};

use super::{
    cells,
    client::{ClientTally, DETECTIONS, PHASES, UNENFORCED},
    histogram::Tally,
    method::MethodTally,
    server::Carried,
};
use crate::telemetry::names::{self, Kind, Metric, Unit};

/// One sample: the values of the metric's attributes, in its order, and the number.
type Sample<'a> = (Vec<&'a str>, Value<'a>);

enum Value<'a> {
    Number(u64),
    Seconds(Duration),
    Distribution(&'a Tally),
}

type Targets = BTreeMap<Arc<str>, ClientTally>;
type Methods = BTreeMap<Box<str>, MethodTally>;

/// Writes every metric that has a sample.
pub(super) fn page(
    mut encoder: DescriptorEncoder<'_>,
    targets: &Targets,
    server: &Methods,
    servers: Option<(Carried, u64)>,
) -> fmt::Result {
    methods(&mut encoder, targets)?;
    channels(&mut encoder, targets)?;
    calls(&mut encoder, server)?;
    match servers {
        Some((carried, shed)) => load(&mut encoder, carried, shed),
        None => Ok(()),
    }
}

/// What servers carry now, and what was too much for them.
fn load(encoder: &mut DescriptorEncoder<'_>, carried: Carried, shed: u64) -> fmt::Result {
    let all = [
        (&names::SERVER_CONNECTIONS, carried.connections),
        (&names::SERVER_OPEN, carried.open),
        (&names::SERVER_ADMITTED, carried.admitted),
        (&names::SERVER_SHED, shed),
        (&names::SERVER_UNREAD, carried.unread),
    ];
    for (metric, number) in all {
        family(
            encoder,
            metric,
            std::iter::once((Vec::new(), Value::Number(number))),
        )?;
    }
    Ok(())
}

/// What is counted by method and target.
fn methods(encoder: &mut DescriptorEncoder<'_>, targets: &Targets) -> fmt::Result {
    let all = || {
        targets.iter().flat_map(|(target, client)| {
            let methods = client.methods.iter();
            methods.map(move |(name, method)| ([&**name, &**target], method))
        })
    };
    let started = all().filter(|(_, method)| method.started > 0);
    family(
        encoder,
        &names::ATTEMPT_STARTED,
        started.map(|(of, method)| (of.to_vec(), Value::Number(method.started))),
    )?;
    let attempts = || {
        all().flat_map(|([name, target], method)| {
            let attempts = method.attempts.iter();
            attempts.map(move |(code, it)| (vec![name, target, cells::name(*code)], it))
        })
    };
    let of = |(labels, tally)| (labels, Value::Distribution(tally));
    family(
        encoder,
        &names::ATTEMPT_DURATION,
        attempts().map(|(l, a)| of((l, &a.duration))),
    )?;
    family(
        encoder,
        &names::ATTEMPT_SENT,
        attempts().map(|(l, a)| of((l, &a.sent))),
    )?;
    family(
        encoder,
        &names::ATTEMPT_RCVD,
        attempts().map(|(l, a)| of((l, &a.rcvd))),
    )?;
    let calls = all().flat_map(|([name, target], method)| {
        let calls = method.calls.iter();
        calls.map(move |(code, it)| (vec![name, target, cells::name(*code)], it))
    });
    family(encoder, &names::CALL_DURATION, calls.map(of))?;
    let retried: [(&Metric, OfMethod); 4] = [
        (&names::CALL_RETRIES, |method| &method.retries),
        (&names::CALL_TRANSPARENT, |method| &method.transparent),
        (&names::CALL_HEDGES, |method| &method.hedges),
        (&names::CALL_RETRY_DELAY, |method| &method.delay),
    ];
    for (metric, tally) in retried {
        let some = all().filter(|(_, method)| tally(method).count() > 0);
        let samples = some.map(|(l, method)| (l.to_vec(), Value::Distribution(tally(method))));
        family(encoder, metric, samples)?;
    }
    Ok(())
}

/// Takes one distribution out of a method's.
type OfMethod = fn(&MethodTally) -> &Tally;

/// Takes one count out of a channel's.
type OfClient = fn(&ClientTally) -> u64;

/// What is counted by target.
fn channels(encoder: &mut DescriptorEncoder<'_>, targets: &Targets) -> fmt::Result {
    let counts: [(&Metric, OfClient); 4] = [
        (&names::DISCONNECTIONS, |client| client.disconnections),
        (&names::CONNECTS_SUCCEEDED, |client| {
            client.connects_succeeded
        }),
        (&names::CONNECTS_FAILED, |client| client.connects_failed),
        (&names::OPEN_CONNECTIONS, ClientTally::open_connections),
    ];
    for (metric, count) in counts {
        let all = targets.iter();
        let samples = all.map(|(target, client)| (vec![&**target], Value::Number(count(client))));
        family(encoder, metric, samples)?;
    }
    let mut ejections = Vec::new();
    let mut unenforced = Vec::new();
    let mut breakers = Vec::new();
    let mut transitions = Vec::new();
    let mut instances = Vec::new();
    for (target, client) in targets {
        let target: &str = target;
        for (by, number) in DETECTIONS.into_iter().zip(client.ejections) {
            ejections.push((vec![target, by], Value::Number(number)));
        }
        for (by, row) in DETECTIONS.into_iter().zip(client.unenforced) {
            for (reason, number) in UNENFORCED.into_iter().zip(row) {
                unenforced.push((vec![target, by, reason], Value::Number(number)));
            }
        }
        for (from, row) in PHASES.into_iter().zip(client.transitions) {
            let rows = PHASES
                .into_iter()
                .zip(row)
                .filter(|(to, n)| *to != from || *n > 0);
            transitions.extend(rows.map(|(to, n)| (vec![target, from, to], Value::Number(n))));
        }
        if let Some(gauges) = &client.gauges {
            let states = PHASES.into_iter().zip(gauges.breakers);
            breakers.extend(states.map(|(state, n)| (vec![target, state], Value::Number(n))));
            let states = gauges.instances.iter();
            instances.extend(states.map(|(state, n)| (vec![target, *state], Value::Number(*n))));
        }
    }
    family(encoder, &names::EJECTIONS_ENFORCED, ejections.into_iter())?;
    family(
        encoder,
        &names::EJECTIONS_UNENFORCED,
        unenforced.into_iter(),
    )?;
    family(encoder, &names::BREAKER_STATE, breakers.into_iter())?;
    family(
        encoder,
        &names::BREAKER_TRANSITIONS,
        transitions.into_iter(),
    )?;
    let waits = targets
        .iter()
        .filter(|(_, client)| client.limiter_wait.count() > 0);
    let waits =
        waits.map(|(target, client)| (vec![&**target], Value::Distribution(&client.limiter_wait)));
    family(encoder, &names::LIMITER_WAIT, waits)?;
    let refused = targets
        .iter()
        .map(|(target, client)| (vec![&**target], Value::Number(client.limiter_refused)));
    family(encoder, &names::LIMITER_REFUSED, refused)?;
    let ages = targets.iter().filter_map(|(target, client)| {
        let age = client.gauges.as_ref()?.discovery_age?;
        Some((vec![&**target], Value::Seconds(age)))
    });
    family(encoder, &names::DISCOVERY_AGE, ages)?;
    family(encoder, &names::INSTANCES, instances.into_iter())?;
    let stalled = targets.iter().filter_map(|(target, client)| {
        let gauges = client.gauges.as_ref()?;
        Some((vec![&**target], Value::Number(gauges.stalled)))
    });
    family(encoder, &names::CONNECTIONS_STALLED, stalled)
}

/// What a server counts.
fn calls(encoder: &mut DescriptorEncoder<'_>, server: &Methods) -> fmt::Result {
    let started = server.iter().filter(|(_, method)| method.started > 0);
    family(
        encoder,
        &names::SERVER_STARTED,
        started.map(|(name, method)| (vec![&**name], Value::Number(method.started))),
    )?;
    let ended = || {
        server.iter().flat_map(|(name, method)| {
            let calls = method.attempts.iter();
            calls.map(move |(code, it)| (vec![&**name, cells::name(*code)], it))
        })
    };
    let of = |(labels, tally)| (labels, Value::Distribution(tally));
    family(
        encoder,
        &names::SERVER_DURATION,
        ended().map(|(l, c)| of((l, &c.duration))),
    )?;
    family(
        encoder,
        &names::SERVER_SENT,
        ended().map(|(l, c)| of((l, &c.sent))),
    )?;
    family(
        encoder,
        &names::SERVER_RCVD,
        ended().map(|(l, c)| of((l, &c.rcvd))),
    )?;
    let blocked = server.iter().filter(|(_, method)| method.blocked > 0);
    family(
        encoder,
        &names::SERVER_BLOCKED,
        blocked.map(|(name, method)| (vec![&**name], Value::Number(method.blocked))),
    )
}

/// Writes one metric; nothing at all when it has no sample.
fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    samples: impl Iterator<Item = Sample<'a>>,
) -> fmt::Result {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let stem = metric.stem();
    let unit = match metric.unit {
        Unit::Seconds => Some(Suffix::Seconds),
        Unit::Bytes => Some(Suffix::Bytes),
        Unit::Count(_) => None,
    };
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::UpDownCounter | Kind::Gauge => MetricType::Gauge,
        Kind::Histogram(_) => MetricType::Histogram,
    };
    let help = format!("{}.", metric.help);
    let mut family = encoder.encode_descriptor(&stem, &help, unit.as_ref(), kind)?;
    let keys: Vec<_> = metric
        .attributes
        .iter()
        .map(|a| a.replace('.', "_"))
        .collect();
    for (values, value) in samples {
        let labels: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(values).collect();
        if labels.is_empty() {
            // Without the braces of a family that tells nothing apart.
            sample(&mut family, metric, value)?;
        } else {
            sample(&mut family.encode_family(&labels)?, metric, value)?;
        }
    }
    Ok(())
}

/// Writes one sample.
fn sample(encoder: &mut MetricEncoder<'_>, metric: &Metric, value: Value<'_>) -> fmt::Result {
    match (value, metric.kind) {
        (Value::Number(number), Kind::Counter) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(&number, None)
        }
        (Value::Number(number), _) => encoder.encode_gauge(&number),
        (Value::Seconds(seconds), _) => encoder.encode_gauge(&seconds.as_secs_f64()),
        (Value::Distribution(tally), Kind::Histogram(bounds)) => {
            let (sum, buckets) = shown(metric.unit, bounds, tally);
            encoder.encode_histogram::<NoLabelSet>(sum, tally.count(), &buckets, None)
        }
        (Value::Distribution(_), _) => Err(fmt::Error),
    }
}

/// The sum and the buckets of a histogram in the unit that it is shown in.
fn shown(unit: Unit, bounds: &[u64], tally: &Tally) -> (f64, Vec<(f64, u64)>) {
    let show = |value: u64| match unit {
        Unit::Seconds => Duration::from_nanos(value).as_secs_f64(),
        Unit::Bytes | Unit::Count(_) => to_f64(value),
    };
    let bounds = bounds.iter().copied().map(show).chain([f64::INFINITY]);
    (
        show(tally.sum),
        bounds.zip(tally.buckets.iter().copied()).collect(),
    )
}

/// Prometheus knows no other number; past 2^53 it is the nearest one.
#[expect(
    clippy::cast_precision_loss,
    reason = "the format's own number is a 64-bit float"
)]
fn to_f64(value: u64) -> f64 {
    value as f64
}
