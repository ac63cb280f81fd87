//! What stands under `mizan`: settings that gRPC has no name for.

use std::time::Duration;

use serde_json::Value;

use super::{
    InvalidServiceConfig,
    json::{Field, Object},
};
use crate::{
    breaker::{self, Scope, Slow, Trip},
    limit::{
        Rate,
        adaptive::{self, Algorithm, Gradient},
    },
};

/// Settings of Mizan's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    pub(crate) breaker: Option<Given<breaker::Config>>,
    pub(crate) limiter: Option<Rate>,
    pub(crate) concurrency: Option<Given<adaptive::Config>>,
    pub(crate) connections: Option<u32>,
    pub(crate) panic_percent: Option<u32>,
    pub(crate) slow_start: Option<Duration>,
}

/// Settings and the JSON they came from: what is given again unchanged keeps its state.
#[derive(Debug, Clone)]
pub(crate) struct Given<T> {
    pub(crate) config: T,
    pub(crate) json: Value,
}

type Read<T> = Result<T, InvalidServiceConfig>;

pub(super) fn read(field: &Field<'_>) -> Read<Layers> {
    let object = field.object()?;
    Ok(Layers {
        breaker: object.read("breaker", |f| given(f, read_breaker))?,
        limiter: object.read("limiter", read_limiter)?,
        concurrency: object.read("concurrency", |f| given(f, read_concurrency))?,
        connections: object.read("connections", |f| within(f, 1, 64))?,
        slow_start: object.read("slowStartWindow", Field::duration_above_zero)?,
        panic_percent: object.read("panicPercent", |f| within(f, 0, 100))?,
    })
}

fn given<'a, T>(field: &Field<'a>, read: fn(&Field<'a>) -> Read<T>) -> Read<Given<T>> {
    Ok(Given {
        config: read(field)?,
        json: field.value().clone(),
    })
}

fn within(field: &Field<'_>, min: u32, max: u32) -> Read<u32> {
    let number = field.whole()?;
    if !(min..=max).contains(&number) {
        return Err(field.refused(format!("must be {min} to {max}")));
    }
    Ok(number)
}

fn read_limiter(field: &Field<'_>) -> Read<Rate> {
    let object = field.object()?;
    let speed = object.required("perSecond")?;
    let burst = object.required("burst")?;
    let tokens = burst.whole()?;
    let rate = speed.value().as_f64().filter(|speed| *speed > 0.0);
    let rate = rate.and_then(|per_second| Rate::per_second(per_second, tokens));
    match rate {
        Some(_) if tokens == 0 => Err(burst.refused("must be above 0")),
        Some(rate) => Ok(rate),
        None => Err(speed.refused("must be a number above 0")),
    }
}

fn read_breaker(field: &Field<'_>) -> Read<breaker::Config> {
    let object = field.object()?;
    let default = object.read("preset", read_preset)?.unwrap_or_default();
    let config = breaker::Config {
        trip: read_trip(&object, default.trip)?,
        interval: object
            .read("interval", Field::duration_above_zero)?
            .unwrap_or(default.interval),
        bucket_period: object.read("bucketPeriod", Field::duration_above_zero)?,
        open_for: object
            .read("openFor", Field::duration_above_zero)?
            .unwrap_or(default.open_for),
        probes_max: object
            .read("probesMax", Field::whole)?
            .unwrap_or(default.probes_max),
        probe_timeout: object
            .read("probeTimeout", Field::duration_above_zero)?
            .or(default.probe_timeout),
        slow: object.read("slow", read_slow)?,
        scope: object.read("scope", read_scope)?.unwrap_or(default.scope),
        on_state_change: None,
    };
    let config = config.validate();
    config.map_err(|invalid| field.refused(format!("is not valid: {invalid}")))
}

/// The settings that the others are told on top of.
fn read_preset(field: &Field<'_>) -> Read<breaker::Config> {
    match field.text()? {
        "gobreaker" => Ok(breaker::Config::gobreaker()),
        _ => Err(field.refused("must be gobreaker, or not be there")),
    }
}

fn read_trip(object: &Object<'_>, default: Trip) -> Read<Trip> {
    let requests_min = object.read("requestsMin", Field::whole)?;
    let failure_percent = object.read("failurePercent", Field::whole)?;
    let consecutive = object.read("consecutiveFailures", Field::whole)?;
    let (default_min, default_percent) = match default {
        Trip::Ratio {
            requests_min,
            failure_percent,
        }
        | Trip::Either {
            requests_min,
            failure_percent,
            ..
        } => (requests_min, failure_percent),
        // No preset is one.
        Trip::ConsecutiveFailures(_) => (20, 50),
    };
    let share = (
        requests_min.unwrap_or(default_min),
        failure_percent.unwrap_or(default_percent),
    );
    Ok(match (consecutive, requests_min.or(failure_percent)) {
        (Some(failures), None) => Trip::ConsecutiveFailures(failures),
        (Some(consecutive_failures), Some(_)) => Trip::Either {
            requests_min: share.0,
            failure_percent: share.1,
            consecutive_failures,
        },
        (None, _) => Trip::Ratio {
            requests_min: share.0,
            failure_percent: share.1,
        },
    })
}

fn read_slow(field: &Field<'_>) -> Read<Slow> {
    let object = field.object()?;
    Ok(Slow {
        threshold: object.required("threshold")?.duration_above_zero()?,
        percent: within(&object.required("percent")?, 1, 100)?,
        requests_min: object.read("requestsMin", Field::whole)?.unwrap_or(3),
    })
}

fn read_scope(field: &Field<'_>) -> Read<Scope> {
    match field.text()? {
        "service" => Ok(Scope::Service),
        "instance" => Ok(Scope::Instance),
        "method" => Ok(Scope::Method),
        _ => Err(field.refused("must be service, instance or method")),
    }
}

fn read_concurrency(field: &Field<'_>) -> Read<adaptive::Config> {
    let object = field.object()?;
    let default = adaptive::Config::default();
    let algorithm = |field: &Field<'_>| match field.text()? {
        "aimd" => Ok(Algorithm::Aimd),
        "gradient" => Ok(Algorithm::Gradient(Gradient::default())),
        _ => Err(field.refused("must be aimd or gradient")),
    };
    let number =
        |name, default| -> Read<u32> { Ok(object.read(name, Field::whole)?.unwrap_or(default)) };
    let config = adaptive::Config {
        limit_min: number("min", default.limit_min)?,
        limit_max: number("max", default.limit_max)?,
        limit_initial: number("initial", default.limit_initial)?,
        backoff_percent: number("backoffPercent", default.backoff_percent)?,
        algorithm: object
            .read("algorithm", algorithm)?
            .unwrap_or(default.algorithm),
    };
    let config = config.validate();
    config.map_err(|invalid| field.refused(format!("is not valid: {invalid}")))
}
