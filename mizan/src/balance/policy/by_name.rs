//! Policies by the names that a gRPC service config has for them.

use std::sync::Arc;

use serde_json::Value;

use super::{
    LeastRequest, PeakEwma, PickFirst, Policy, RingHash, RoundRobin, ZoneAware,
    json::Fields,
    ring_hash::{SIZE_CAP, SIZE_LIMIT},
};

/// How deep policies may stand in one another: a config is not trusted with our stack.
const DEPTH_MAX: usize = 4;

/// Whether [`by_name`] knows the policy. Of the list in a service config, the first that is
/// supported is used (gRFC A24).
#[must_use]
pub fn supports(name: &str) -> bool {
    matches!(
        name,
        "round_robin"
            | "weighted_round_robin"
            | "least_request"
            | "least_request_experimental"
            | "ring_hash_experimental"
            | "pick_first"
            | "mizan_peak_ewma"
            | "mizan_zone_aware"
    )
}

/// The policy called `name` in a gRPC service config, with its config there.
///
/// | name | fields |
/// |---|---|
/// | `round_robin`, `weighted_round_robin` | none read: weights come with the instances |
/// | `least_request`, `least_request_experimental` | `choiceCount`: 2 or more, over 10 means 10 |
/// | `ring_hash_experimental` | `minRingSize`, `maxRingSize`: at most 8 Mi, over 4096 means 4096; `requestHashHeader` |
/// | `pick_first` | `shuffleAddressList` |
/// | `mizan_peak_ewma` | `decay`, `failurePenalty`: durations |
/// | `mizan_zone_aware` | `zone`, `minLocalPercent`, `minLocalInstances`, `childPolicy`: a list like `loadBalancingConfig`, round robin if it is missing |
///
/// # Errors
/// Says what is wrong when the name is unknown or a known field is invalid (gRFC A21). Unknown
/// fields are ignored.
pub fn by_name(name: &str, config: &Value) -> Result<Arc<dyn Policy>, String> {
    nested(name, config, DEPTH_MAX)
}

fn nested(name: &str, config: &Value, depth: usize) -> Result<Arc<dyn Policy>, String> {
    let fields = Fields::of(name, config)?;
    Ok(match name {
        "round_robin" | "weighted_round_robin" => Arc::new(RoundRobin::default()),
        "least_request" | "least_request_experimental" => least_request(&fields)?,
        "ring_hash_experimental" => ring_hash(&fields)?,
        "pick_first" => match fields.bool("shuffleAddressList")? {
            Some(true) => Arc::new(PickFirst::shuffled(fastrand::u64(..))),
            _ => Arc::new(PickFirst::new()),
        },
        "mizan_peak_ewma" => peak_ewma(&fields)?,
        "mizan_zone_aware" => zone_aware(&fields, depth)?,
        _ => return Err(format!("no balancing policy is called {name:?}")),
    })
}

fn least_request(fields: &Fields<'_>) -> Result<Arc<dyn Policy>, String> {
    match fields.u32("choiceCount")? {
        None => Ok(Arc::new(LeastRequest::default())),
        Some(choices @ 2..) => Ok(Arc::new(LeastRequest::new(choices))),
        Some(choices) => Err(format!("choiceCount: {choices} is less than 2")),
    }
}

fn ring_hash(fields: &Fields<'_>) -> Result<Arc<dyn Policy>, String> {
    let size = |field, default| match fields.u64(field)? {
        Some(size) if size > SIZE_LIMIT => Err(format!("{field}: {size} is over {SIZE_LIMIT}")),
        size => Ok(size.unwrap_or(default)),
    };
    let (min, max) = (size("minRingSize", 1024)?, size("maxRingSize", SIZE_CAP)?);
    // Compared as they were written, before the cap makes both the same.
    if min > max {
        return Err(format!("minRingSize {min} is over maxRingSize {max}"));
    }
    let ring = RingHash::default().sized(min.min(SIZE_CAP), max.min(SIZE_CAP))?;
    Ok(match fields.str("requestHashHeader")? {
        None | Some("") => Arc::new(ring),
        Some(header) => Arc::new(ring.keyed_by(header)?),
    })
}

fn peak_ewma(fields: &Fields<'_>) -> Result<Arc<dyn Policy>, String> {
    let mut policy = PeakEwma::default();
    if let Some(decay) = fields.duration("decay")? {
        policy.decay = decay;
    }
    if let Some(penalty) = fields.duration("failurePenalty")? {
        policy.failure_penalty = penalty;
    }
    if policy.decay.is_zero() {
        return Err("decay: 0 would forget everything at once".to_owned());
    }
    Ok(Arc::new(policy))
}

fn zone_aware(fields: &Fields<'_>, depth: usize) -> Result<Arc<dyn Policy>, String> {
    let inner = child(fields, depth)?;
    let mut policy = ZoneAware::new(fields.str("zone")?.unwrap_or_default(), inner);
    if let Some(percent) = fields.percent("minLocalPercent")? {
        policy.min_local_percent = percent;
    }
    if let Some(instances) = fields.u32("minLocalInstances")? {
        policy.min_local_instances = usize::try_from(instances).unwrap_or(usize::MAX);
    }
    Ok(Arc::new(policy))
}

/// The first supported of the child policies.
fn child(fields: &Fields<'_>, depth: usize) -> Result<Arc<dyn Policy>, String> {
    let Some(children) = fields.get("childPolicy") else {
        return Ok(Arc::new(RoundRobin::default()));
    };
    let Some(depth) = depth.checked_sub(1) else {
        return Err("childPolicy: too many policies in one another".to_owned());
    };
    let error = "childPolicy: not a list of objects of one policy each";
    for child in children.as_array().ok_or(error)? {
        let child = child.as_object().filter(|c| c.len() == 1).ok_or(error)?;
        if let Some((name, config)) = child.iter().find(|(name, _)| supports(name)) {
            return nested(name, config, depth);
        }
    }
    Err("childPolicy: none is supported".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn built(name: &str, config: &Value) -> Result<String, String> {
        by_name(name, config).map(|policy| format!("{policy:?}"))
    }

    #[test]
    fn every_supported_name_is_built_with_its_defaults() {
        for name in [
            "round_robin",
            "weighted_round_robin",
            "least_request",
            "least_request_experimental",
            "ring_hash_experimental",
            "pick_first",
            "mizan_peak_ewma",
            "mizan_zone_aware",
        ] {
            assert!(supports(name));
            assert!(built(name, &json!({"unknown": [1]})).is_ok(), "{name}");
            assert!(built(name, &Value::Null).is_ok(), "{name}");
            assert!(built(name, &json!("text")).is_err(), "{name}");
        }
        assert!(!supports("grpclb"));
        assert!(built("grpclb", &json!({})).is_err());
    }

    #[test]
    fn least_request_by_the_rules_of_a48() {
        let choices = |n| built("least_request_experimental", &json!({ "choiceCount": n }));
        assert!(choices(0).is_err());
        assert!(choices(1).is_err());
        assert!(choices(3).unwrap().contains("choices: 3"));
        assert!(choices(11).unwrap().contains("choices: 10"));
    }

    #[test]
    fn ring_hash_by_the_rules_of_a42_and_a76() {
        let ring = |config| built("ring_hash_experimental", &config);
        let default = ring(json!({})).unwrap();
        assert!(
            default.contains("size_min: 1024, size_max: 4096"),
            "{default}"
        );
        assert!(ring(json!({"minRingSize": 8_388_609})).is_err());
        assert!(ring(json!({"maxRingSize": "8388609"})).is_err());
        assert!(
            ring(json!({"minRingSize": 5000})).is_err(),
            "over the default"
        );
        assert!(ring(json!({"minRingSize": 20, "maxRingSize": 10})).is_err());
        assert!(ring(json!({"minRingSize": 0})).is_err());
        let capped = ring(json!({"minRingSize": 5000, "maxRingSize": 8_388_608})).unwrap();
        assert!(
            capped.contains("size_min: 4096, size_max: 4096"),
            "{capped}"
        );
        assert!(ring(json!({"requestHashHeader": "x-tenant-bin"})).is_err());
        assert!(ring(json!({"requestHashHeader": "x tenant"})).is_err());
        let config = json!({"requestHashHeader": "x-tenant"});
        let keyed = by_name("ring_hash_experimental", &config).unwrap();
        assert_eq!(keyed.hash_header().unwrap(), "x-tenant");
    }

    #[test]
    fn pick_first_and_peak_ewma() {
        let shuffled = built("pick_first", &json!({"shuffleAddressList": true})).unwrap();
        assert!(shuffled.contains("seed: Some"), "{shuffled}");
        assert!(built("pick_first", &json!({"shuffleAddressList": 1})).is_err());
        let ewma = built("mizan_peak_ewma", &json!({"decay": "2.5s"})).unwrap();
        assert!(ewma.contains("decay: 2.5s"), "{ewma}");
        assert!(built("mizan_peak_ewma", &json!({"decay": "0s"})).is_err());
        assert!(built("mizan_peak_ewma", &json!({"failurePenalty": "-1s"})).is_err());
    }

    #[test]
    fn zone_aware_takes_the_first_child_it_knows() {
        let zone = |config| built("mizan_zone_aware", &config);
        let config = json!({"zone": "a", "minLocalPercent": 50, "minLocalInstances": 2,
            "childPolicy": [{"grpclb": {}}, {"least_request": {"choiceCount": 4}}]});
        let built = zone(config).unwrap();
        assert!(built.contains("LeastRequest { choices: 4 }"), "{built}");
        assert!(zone(json!({"minLocalPercent": 101})).is_err());
        assert!(zone(json!({"childPolicy": []})).is_err());
        assert!(zone(json!({"childPolicy": {"round_robin": {}}})).is_err());
        assert!(zone(json!({"childPolicy": [{"grpclb": {}}]})).is_err());
        assert!(zone(json!({"childPolicy": [{"least_request": {"choiceCount": 1}}]})).is_err());
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({"childPolicy": [{"mizan_zone_aware": deep}]});
        }
        assert!(zone(deep).is_err());
    }
}
