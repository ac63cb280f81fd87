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
mod method;

use serde_json::Value;

pub(crate) use method::{Again, MethodConfig, Name};

use json::Field;

/// Why a service config was refused: which field, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service config: {}{} {rule}", path, if path.is_empty() { "it" } else { "" })]
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

/// `retryThrottling`, in thousandths of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttling {
    pub(crate) tokens_max: u32,
    pub(crate) ratio: u32,
}

fn read_throttling(field: &Field<'_>) -> Result<Throttling, InvalidServiceConfig> {
    const TOKENS_MAX: u32 = 1_000_000;
    let object = field.object()?;
    let max = object.required("maxTokens")?;
    let tokens_max = max.thousandths()?;
    if tokens_max > TOKENS_MAX {
        return Err(max.refused("must be at most 1000"));
    }
    Ok(Throttling {
        tokens_max,
        ratio: object.required("tokenRatio")?.thousandths()?,
    })
}

/// The text of a service config, as a value.
fn parsed(text: &str) -> Result<Value, InvalidServiceConfig> {
    serde_json::from_str(text).map_err(|error| InvalidServiceConfig {
        path: String::new(),
        rule: format!("must be JSON: {error}"),
    })
}
