//! gRPC service config: a channel's settings as JSON, by gRPC's own names and rules
//! (gRFC A2, A6, A21; `grpc/service_config/service_config.proto`).
//!
//! Fields nobody knows are ignored; a known one that is not valid refuses the whole, so that a
//! channel never runs on half of what somebody meant. What gRPC has no name for stands under
//! `mizan`, which other clients ignore:
//!
//! ```json
//! {
//!   "loadBalancingConfig": [{"round_robin": {}}],
//!   "methodConfig": [{
//!     "name": [{"service": "mizan.invoice.v1.InvoiceService"}],
//!     "timeout": "2s",
//!     "retryPolicy": {
//!       "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s",
//!       "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]
//!     },
//!     "mizan": {"attemptTimeout": "0.5s"}
//!   }],
//!   "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
//!   "mizan": {
//!     "breaker": {"failurePercent": 60, "openFor": "30s", "scope": "instance"},
//!     "limiter": {"perSecond": 500, "burst": 50}
//!   }
//! }
//! ```

mod json;
mod layers;
mod method;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use layers::Layers;
pub(crate) use method::{MethodConfig, Name};

use crate::{
    balance::{
        outlier,
        policy::{self, Policy},
    },
    retry::{Thousandths, Throttling},
};
use json::Field;

/// gRFC A50's policy, which wraps another.
const OUTLIER_DETECTION: &str = "outlier_detection_experimental";

/// A service config that was read and is valid.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    pub(crate) methods: Vec<MethodConfig>,
    pub(crate) balancing: Option<Arc<dyn Policy>>,
    pub(crate) outlier: Option<outlier::Config>,
    pub(crate) throttling: Option<Throttling>,
    /// The service whose health connections are watched for (gRFC A17).
    pub(crate) health_check: Option<String>,
    pub(crate) layers: Layers,
}

/// Why a service config was refused: which field, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service config: {} {rule}", if path.is_empty() { "it" } else { path })]
pub struct InvalidServiceConfig {
    path: String,
    rule: String,
}

impl InvalidServiceConfig {
    /// The field, such as `methodConfig[0].retryPolicy.maxAttempts`; empty for the whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl ServiceConfig {
    /// Reads a service config.
    ///
    /// # Errors
    /// [`InvalidServiceConfig`] names the first field that is not valid.
    pub fn parse(text: &str) -> Result<Self, InvalidServiceConfig> {
        let value: Value = serde_json::from_str(text).map_err(|error| InvalidServiceConfig {
            path: String::new(),
            rule: format!("must be JSON: {error}"),
        })?;
        let object = Field::root(&value).object()?;
        let mut config = Self {
            methods: object
                .read("methodConfig", method::read_all)?
                .unwrap_or_default(),
            throttling: object.read("retryThrottling", read_throttling)?,
            health_check: object
                .read("healthCheckConfig", |field| {
                    field.object()?.read("serviceName", Field::text)
                })?
                .flatten()
                .map(str::to_owned),
            layers: object.read("mizan", layers::read)?.unwrap_or_default(),
            ..Self::default()
        };
        match object.get("loadBalancingConfig") {
            Some(list) => config.read_balancing(&list)?,
            // Deprecated in gRPC, and still what many configs have.
            None => config.balancing = object.read("loadBalancingPolicy", read_policy_name)?,
        }
        Ok(config)
    }

    /// The first of the list that is supported (gRFC A24); none is an error.
    fn read_balancing(&mut self, list: &Field<'_>) -> Result<(), InvalidServiceConfig> {
        for entry in list.array()? {
            let object = entry.object()?;
            let mut names = object.names();
            let (Some(name), None) = (names.next(), names.next()) else {
                return Err(entry.refused("must have exactly one field, the policy's name"));
            };
            // Null is the same as no settings.
            let Some(settings) = object.get(name) else {
                if policy::supports(name) {
                    self.balancing = Some(built(name, &Value::Null, &entry)?);
                    return Ok(());
                }
                continue;
            };
            if name == OUTLIER_DETECTION && self.outlier.is_none() {
                let detection = outlier::Config::from_json(settings.value());
                self.outlier = Some(detection.map_err(|rule| settings.refused(rule))?);
                return self.read_balancing(&settings.object()?.required("childPolicy")?);
            }
            if policy::supports(name) {
                self.balancing = Some(built(name, settings.value(), &settings)?);
                return Ok(());
            }
        }
        Err(list.refused("must name at least one policy that is supported"))
    }
}

fn built(
    name: &str,
    settings: &Value,
    field: &Field<'_>,
) -> Result<Arc<dyn Policy>, InvalidServiceConfig> {
    policy::by_name(name, settings).map_err(|rule| field.refused(format!("is not valid: {rule}")))
}

fn read_policy_name(field: &Field<'_>) -> Result<Arc<dyn Policy>, InvalidServiceConfig> {
    let name = field.text()?.to_ascii_lowercase();
    if !policy::supports(&name) {
        return Err(field.refused("must name a policy that is supported"));
    }
    built(&name, &Value::Null, field)
}

fn read_throttling(field: &Field<'_>) -> Result<Throttling, InvalidServiceConfig> {
    let object = field.object()?;
    let tokens_max = Thousandths::new(object.required("maxTokens")?.thousandths()?);
    let token_ratio = Thousandths::new(object.required("tokenRatio")?.thousandths()?);
    let throttling = Throttling {
        tokens_max,
        token_ratio,
    };
    let valid = throttling.validate();
    valid.map_err(|invalid| field.refused(format!("is not valid: {invalid}")))
}
