//! `methodConfig`: what holds for which methods.

use std::{collections::HashSet, time::Duration};

use super::{
    InvalidServiceConfig,
    json::{Field, Object},
};
use crate::retry::{ATTEMPTS_CAP, Codes, HedgingPolicy, Policy, RetryPolicy, Thousandths};

/// Which methods an entry of `methodConfig` is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// All that no other entry names.
    Default,
    /// All of a service (`package.Service`) that no other entry names.
    Service(String),
    /// One method, as its path: `/package.Service/Method`.
    Method(String),
}

/// What holds for some methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MethodConfig {
    pub(crate) names: Vec<Name>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) request_bytes_max: Option<u32>,
    pub(crate) response_bytes_max: Option<u32>,
    pub(crate) retry: Option<Policy>,
}

/// Reads the list; no name may appear twice in it.
pub(super) fn read_all(field: &Field<'_>) -> Result<Vec<MethodConfig>, InvalidServiceConfig> {
    let mut seen = HashSet::new();
    let mut configs = Vec::new();
    for entry in field.array()? {
        let config = read(&entry)?;
        for name in &config.names {
            if !seen.insert(name.clone()) {
                return Err(entry.refused(format!("names {name} a second time")));
            }
        }
        configs.push(config);
    }
    Ok(configs)
}

fn read(entry: &Field<'_>) -> Result<MethodConfig, InvalidServiceConfig> {
    let object = entry.object()?;
    let mut names = Vec::new();
    // Without a name it is for nobody, but must be valid all the same.
    for name in object.read("name", Field::array)?.unwrap_or_default() {
        names.push(read_name(&name)?);
    }
    let ours = object.read("mizan", Field::object)?;
    let attempt_timeout = ours
        .map(|ours| ours.read("attemptTimeout", Field::duration_above_zero))
        .transpose()?
        .flatten();
    Ok(MethodConfig {
        names,
        wait_for_ready: object.read("waitForReady", Field::boolean)?,
        timeout: object.read("timeout", Field::duration)?,
        attempt_timeout,
        request_bytes_max: object.read("maxRequestMessageBytes", Field::whole)?,
        response_bytes_max: object.read("maxResponseMessageBytes", Field::whole)?,
        retry: read_policy(&object)?,
    })
}

fn read_name(field: &Field<'_>) -> Result<Name, InvalidServiceConfig> {
    let object = field.object()?;
    let part = |name| -> Result<&str, InvalidServiceConfig> {
        Ok(object.read(name, Field::text)?.unwrap_or_default())
    };
    match (part("service")?, part("method")?) {
        ("", "") => Ok(Name::Default),
        ("", _) => Err(field.refused("must name the service of its method")),
        (service, "") => Ok(Name::Service(service.to_owned())),
        (service, method) => Ok(Name::Method(format!("/{service}/{method}"))),
    }
}

fn read_policy(object: &Object<'_>) -> Result<Option<Policy>, InvalidServiceConfig> {
    let retry = object.get("retryPolicy");
    let hedging = object.get("hedgingPolicy");
    let policy = match (retry, hedging) {
        (Some(_), Some(_)) => {
            return Err(object.refused("must not have both retryPolicy and hedgingPolicy"));
        }
        (Some(retry), None) => Policy::Retry(read_retry(&retry)?),
        (None, Some(hedging)) => Policy::Hedge(read_hedging(&hedging)?),
        (None, None) => return Ok(None),
    };
    let policy = policy.validate();
    let policy = policy.map_err(|invalid| object.refused(invalid.to_string()))?;
    Ok(Some(policy.capped(ATTEMPTS_CAP)))
}

fn read_retry(field: &Field<'_>) -> Result<RetryPolicy, InvalidServiceConfig> {
    let object = field.object()?;
    let codes = object.required("retryableStatusCodes")?;
    let multiplier = object.required("backoffMultiplier")?.thousandths()?;
    let retry = RetryPolicy {
        attempts_max: read_attempts(&object)?,
        backoff_initial: object.required("initialBackoff")?.duration_above_zero()?,
        backoff_max: object.required("maxBackoff")?.duration_above_zero()?,
        backoff_multiplier: Thousandths::new(multiplier),
        codes: Codes::of(&codes.codes()?),
        attempt_timeout: None,
    };
    if retry.codes.is_empty() {
        return Err(codes.refused("must name at least one status"));
    }
    Ok(retry)
}

fn read_hedging(field: &Field<'_>) -> Result<HedgingPolicy, InvalidServiceConfig> {
    let object = field.object()?;
    let non_fatal = object.read("nonFatalStatusCodes", Field::codes)?;
    Ok(HedgingPolicy {
        attempts_max: read_attempts(&object)?,
        delay: object
            .read("hedgingDelay", Field::duration)?
            .unwrap_or_default(),
        non_fatal: Codes::of(&non_fatal.unwrap_or_default()),
        attempt_timeout: None,
    })
}

fn read_attempts(object: &Object<'_>) -> Result<u32, InvalidServiceConfig> {
    let field = object.required("maxAttempts")?;
    match field.whole()? {
        0 | 1 => Err(field.refused("must be above 1")),
        // Those above the channel's cap are taken for the cap, which is not known here.
        attempts => Ok(attempts),
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("all methods"),
            Self::Service(service) => write!(f, "service {service}"),
            Self::Method(path) => write!(f, "method {path}"),
        }
    }
}
