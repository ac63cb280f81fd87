//! What a registration must look like: the contract's limits, all violations at once.

use std::{collections::BTreeMap, fmt::Display, net::IpAddr, time::Duration};

use crate::catalogue::{Check, CheckKind, Instance, limits::*};

/// How much of a caller's own word an error repeats.
const ECHO_CHARS_MAX: usize = 32;

/// A registration as it came, not yet checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidate {
    pub(crate) instance_id: String,
    pub(crate) service: String,
    pub(crate) address: String,
    pub(crate) port: u32,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) weight: u32,
    pub(crate) zone: String,
    pub(crate) check: CandidateCheck,
}

/// A check as it came. What is unset takes its default.
#[derive(Debug, Clone, Default)]
pub(crate) struct CandidateCheck {
    pub(crate) kind: Option<CheckKind>,
    pub(crate) interval_nanos: Option<i128>,
    pub(crate) timeout_nanos: Option<i128>,
}

/// What is wrong with one field: the description is a clause that fits after its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) field: String,
    pub(crate) description: String,
}

impl Violation {
    fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
        }
    }
}

impl Candidate {
    /// The instance, or everything that is wrong with it.
    pub(crate) fn validate(self) -> Result<Instance, Vec<Violation>> {
        let mut found = Vec::new();
        found.extend(check_instance_id("instance_id", &self.instance_id));
        found.extend(check_service("service", &self.service));
        found.extend(check_address(&self.address));
        let port = self.port(&mut found);
        check_tags(&self.tags, &mut found);
        check_metadata(&self.metadata, &mut found);
        if self.weight > WEIGHT_MAX {
            found.push(Violation::new(
                "weight",
                format!("must be at most {WEIGHT_MAX}"),
            ));
        }
        found.extend(check_chars("zone", &self.zone, 0, ZONE_CHARS_MAX));
        let check = self.check.validate(&mut found);
        match (port, check) {
            (Some(port), Some(check)) if found.is_empty() => Ok(Instance {
                instance_id: self.instance_id,
                service: self.service,
                address: self.address,
                port,
                tags: self.tags,
                metadata: self.metadata,
                weight: self.weight.max(1),
                zone: self.zone,
                check,
            }),
            _ => Err(found),
        }
    }

    fn port(&self, found: &mut Vec<Violation>) -> Option<u16> {
        let port = u16::try_from(self.port).ok().filter(|port| *port > 0);
        if port.is_none() {
            found.push(Violation::new("port", "must be 1 to 65535"));
        }
        port
    }
}

impl CandidateCheck {
    fn validate(self, found: &mut Vec<Violation>) -> Option<Check> {
        let kind = self.kind.unwrap_or(CheckKind::Grpc {
            service: String::new(),
        });
        if let CheckKind::Grpc { service } = &kind {
            found.extend(check_chars(
                "check.grpc.service",
                service,
                0,
                CHECK_SERVICE_CHARS_MAX,
            ));
        }
        let interval = self.interval_nanos.map_or(Some(INTERVAL_DEFAULT), |nanos| {
            within("check.interval", nanos, INTERVAL_MIN, INTERVAL_MAX, found)
        });
        let timeout = self
            .timeout_nanos
            .map(|nanos| within("check.timeout", nanos, TIMEOUT_MIN, TIMEOUT_MAX, found));
        let interval = interval?;
        let timeout = match timeout {
            None => TIMEOUT_DEFAULT.min(interval),
            Some(timeout) => timeout?,
        };
        if timeout > interval {
            found.push(Violation::new(
                "check.timeout",
                format!("must be at most the interval, {interval:?}"),
            ));
        }
        Some(Check {
            kind,
            interval,
            timeout,
        })
    }
}

/// What is wrong with an instance id.
pub(crate) fn check_instance_id(field: &str, id: &str) -> Option<Violation> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    (!(1..=INSTANCE_ID_CHARS_MAX).contains(&id.len()) || !id.chars().all(allowed)).then(|| {
        Violation::new(
            field,
            format!("must be 1 to {INSTANCE_ID_CHARS_MAX} characters of [A-Za-z0-9._:-]"),
        )
    })
}

/// What is wrong with a service's name.
pub(crate) fn check_service(field: &str, name: &str) -> Option<Violation> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (name.len() > SERVICE_CHARS_MAX
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(allowed))
    .then(|| {
        Violation::new(
            field,
            format!(
                "must be 1 to {SERVICE_CHARS_MAX} characters of [a-z0-9-], beginning with a letter"
            ),
        )
    })
}

fn check_address(address: &str) -> Option<Violation> {
    (address.parse::<IpAddr>().is_err() && !is_dns_name(address)).then(|| {
        Violation::new(
            "address",
            "must be an IP address or a DNS name, without the port",
        )
    })
}

/// Whether a resolver could take it: dot-separated labels, one final dot allowed. Underscores
/// occur in the names that container platforms give.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=ADDRESS_LABEL_CHARS_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let relative = name.strip_suffix('.').unwrap_or(name);
    // All digits and dots is a mistyped IPv4 address, never a host.
    relative.len() <= ADDRESS_CHARS_MAX
        && relative.split('.').all(label)
        && relative.chars().any(|c| !c.is_ascii_digit() && c != '.')
}

fn check_tags(tags: &[String], found: &mut Vec<Violation>) {
    if tags.len() > TAGS_MAX {
        found.push(Violation::new(
            "tags",
            format!("must be at most {TAGS_MAX}"),
        ));
    }
    for (index, tag) in tags.iter().take(TAGS_MAX).enumerate() {
        found.extend(check_chars(format!("tags[{index}]"), tag, 1, TAG_CHARS_MAX));
    }
}

fn check_metadata(metadata: &BTreeMap<String, String>, found: &mut Vec<Violation>) {
    if metadata.len() > METADATA_MAX {
        found.push(Violation::new(
            "metadata",
            format!("must be at most {METADATA_MAX} pairs"),
        ));
    }
    for (key, value) in metadata.iter().take(METADATA_MAX) {
        let echo: String = key.chars().take(ECHO_CHARS_MAX).collect();
        let chars = key.chars().count();
        if !(1..=METADATA_KEY_CHARS_MAX).contains(&chars) {
            found.push(Violation::new(
                "metadata",
                format!(
                    "must have keys of 1 to {METADATA_KEY_CHARS_MAX} characters, not {chars} as \"{echo}\" has"
                ),
            ));
        }
        found.extend(check_chars(
            format!("metadata[\"{echo}\"]"),
            value,
            0,
            METADATA_VALUE_CHARS_MAX,
        ));
    }
}

fn check_chars(
    field: impl Into<String> + Display,
    text: &str,
    min: usize,
    max: usize,
) -> Option<Violation> {
    let bound = match min {
        0 => format!("must be at most {max} characters"),
        _ => format!("must be {min} to {max} characters"),
    };
    (!(min..=max).contains(&text.chars().count())).then(|| Violation::new(field, bound))
}

fn within(
    field: &str,
    nanos: i128,
    min: Duration,
    max: Duration,
    found: &mut Vec<Violation>,
) -> Option<Duration> {
    let duration = u64::try_from(nanos)
        .ok()
        .map(Duration::from_nanos)
        .filter(|duration| (min..=max).contains(duration));
    if duration.is_none() {
        found.push(Violation::new(field, format!("must be {min:?} to {max:?}")));
    }
    duration
}
