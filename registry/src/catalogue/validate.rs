//! What a registration must look like: the limits, all violations at once.

use std::{collections::BTreeMap, fmt::Display, net::IpAddr, sync::Arc};

use mizan::request::is_invisible;
use uuid::Uuid;

use crate::catalogue::{
    CheckDefinition, Instance, Locality, NamedPort, Node, check_rules::CheckRules, limits::*,
};

pub(crate) use crate::catalogue::check_rules::CandidateCheck;

/// How much of a caller's own word an error repeats.
const ECHO_CHARS_MAX: usize = 32;

/// By whose rules names are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The contract's: ids of `[A-Za-z0-9._:-]`, services that are DNS labels, an address and a
    /// port.
    #[default]
    Mizan,
    /// Consul's: any printable word without `/`, neither address nor port are required, and tags may
    /// be long or empty.
    Consul,
}

/// A registration as it came, not yet checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidate {
    pub(crate) naming: Naming,
    pub(crate) node: String,
    pub(crate) instance_id: String,
    pub(crate) service: String,
    pub(crate) address: String,
    pub(crate) port: u32,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) weight: u32,
    pub(crate) warning_weight: Option<u32>,
    pub(crate) zone: String,
    pub(crate) tagged_addresses: BTreeMap<String, (String, u16)>,
    pub(crate) enable_tag_override: bool,
    pub(crate) locality: Option<Locality>,
    pub(crate) ports: Vec<NamedPort>,
    pub(crate) socket_path: String,
    /// Each with the field it came in.
    pub(crate) checks: Vec<(String, CandidateCheck)>,
}

/// What is wrong with one field: the description is a clause that fits after its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) field: String,
    pub(crate) description: String,
}

impl Violation {
    /// Of one field.
    pub(crate) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
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
        let consul = self.naming == Naming::Consul;
        if consul {
            let (id, most) = (&self.instance_id, INSTANCE_ID_CHARS_MAX);
            found.extend(check_name("instance_id", id, most));
            found.extend(check_name("service", &self.service, SERVICE_WORD_CHARS_MAX));
        } else {
            found.extend(check_instance_id("instance_id", &self.instance_id));
            found.extend(check_service("service", &self.service));
        }
        found.extend(check_name("node", &self.node, NODE_CHARS_MAX));
        if !(consul && self.address.is_empty()) {
            found.extend(check_address("address", &self.address));
        }
        let port = self.port(&mut found);
        self.check_tags(&mut found);
        check_metadata("metadata", &self.metadata, &mut found);
        self.check_weights(&mut found);
        found.extend(check_chars("zone", &self.zone, 0, ZONE_CHARS_MAX));
        if self.tagged_addresses.len() > METADATA_MAX {
            let rule = format!("must be at most {METADATA_MAX}");
            found.push(Violation::new("tagged_addresses", rule));
        }
        for (tag, (address, _)) in self.tagged_addresses.iter().take(METADATA_MAX) {
            found.extend(check_chars("tagged_addresses", tag, 1, TAG_CHARS_MAX));
            found.extend(check_chars(
                "tagged_addresses",
                address,
                0,
                ADDRESS_CHARS_MAX,
            ));
        }
        check_locality(self.locality.as_ref(), &mut found);
        if self.ports.len() > PORTS_MAX {
            found.push(Violation::new(
                "ports",
                format!("must be at most {PORTS_MAX}"),
            ));
        }
        for port in self.ports.iter().take(PORTS_MAX) {
            found.extend(check_chars("ports", &port.name, 0, TAG_CHARS_MAX));
        }
        let (path, most) = (&self.socket_path, METADATA_VALUE_CHARS_MAX);
        found.extend(check_chars("socket_path", path, 0, most));
        // Without a port by our own rules, that is what is told.
        let has_port = !consul || self.port > 0;
        let checks = validate_checks(self.checks, has_port, &mut found);
        match port {
            Some(port) if found.is_empty() => Ok(Instance {
                node: self.node,
                instance_id: self.instance_id,
                service: self.service,
                address: self.address,
                port,
                tags: self.tags,
                metadata: self.metadata.into(),
                weight: self.weight.max(1),
                warning_weight: self.warning_weight,
                zone: self.zone,
                tagged_addresses: self.tagged_addresses,
                enable_tag_override: self.enable_tag_override,
                locality: self.locality,
                ports: self.ports,
                socket_path: self.socket_path,
                checks,
            }),
            _ => Err(found),
        }
    }

    fn port(&self, found: &mut Vec<Violation>) -> Option<u16> {
        let needed = self.naming == Naming::Mizan;
        let port = u16::try_from(self.port).ok();
        let port = port.filter(|port| *port > 0 || !needed);
        if port.is_none() {
            let least = u32::from(needed);
            found.push(Violation::new("port", format!("must be {least} to 65535")));
        }
        port
    }

    fn check_tags(&self, found: &mut Vec<Violation>) {
        let (most, least, chars) = match self.naming {
            Naming::Mizan => (TAGS_MAX, 1, TAG_CHARS_MAX),
            Naming::Consul => (CONSUL_TAGS_MAX, 0, CONSUL_TAG_CHARS_MAX),
        };
        if self.tags.len() > most {
            found.push(Violation::new("tags", format!("must be at most {most}")));
        }
        if self.tags.iter().map(String::len).sum::<usize>() > TAGS_BYTES_MAX {
            let rule = format!("must be at most {TAGS_BYTES_MAX} bytes together");
            found.push(Violation::new("tags", rule));
        }
        for (index, tag) in self.tags.iter().take(most).enumerate() {
            found.extend(check_chars(format!("tags[{index}]"), tag, least, chars));
        }
    }

    fn check_weights(&self, found: &mut Vec<Violation>) {
        let most = match self.naming {
            Naming::Mizan => WEIGHT_MAX,
            Naming::Consul => CONSUL_WEIGHT_MAX,
        };
        if self.weight > most || self.warning_weight.unwrap_or(0) > most {
            found.push(Violation::new("weight", format!("must be at most {most}")));
        }
    }
}

/// Everything that is wrong with a node, its checks left out.
pub(crate) fn validate_node(node: &Node) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(check_name("node", &node.name, NODE_CHARS_MAX));
    found.extend(check_address("address", &node.address));
    if !node.id.is_empty() && Uuid::parse_str(&node.id).is_err() {
        found.push(Violation::new("id", "must be a UUID"));
    }
    check_locality(node.locality.as_ref(), &mut found);
    check_metadata("node_meta", &node.metadata, &mut found);
    if node.tagged_addresses.len() > METADATA_MAX {
        let rule = format!("must be at most {METADATA_MAX}");
        found.push(Violation::new("tagged_addresses", rule));
    }
    for (tag, address) in node.tagged_addresses.iter().take(METADATA_MAX) {
        found.extend(check_chars("tagged_addresses", tag, 1, TAG_CHARS_MAX));
        let most = ADDRESS_CHARS_MAX;
        found.extend(check_chars("tagged_addresses", address, 0, most));
    }
    found
}

/// The definitions of an owner's checks; what is wrong with them goes to `found`. `has_port` is
/// whether a check without a target of its own has one to go to.
pub(crate) fn validate_checks(
    checks: Vec<(String, CandidateCheck)>,
    has_port: bool,
    found: &mut Vec<Violation>,
) -> Vec<Arc<CheckDefinition>> {
    if checks.len() > CHECKS_MAX {
        found.push(Violation::new(
            "checks",
            format!("must be at most {CHECKS_MAX}"),
        ));
        return Vec::new();
    }
    let mut valid: Vec<Arc<CheckDefinition>> = Vec::with_capacity(checks.len());
    for (field, check) in checks {
        let mut rules = CheckRules::new(&field, found);
        let Some(definition) = rules.validate(check, has_port) else {
            continue;
        };
        if valid
            .iter()
            .any(|held| held.check_id == definition.check_id)
        {
            rules.wrong("check_id", "must be unique among the instance's checks");
        }
        valid.push(Arc::new(definition));
    }
    valid
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

/// What is wrong with the id of an instance that is asked for: Consul's clients give others than ours, and
/// earlier registries took more.
pub(crate) fn check_id_lookup(field: &str, id: &str) -> Option<Violation> {
    check_word(field, id, INSTANCE_ID_CHARS_MAX)
}

/// What is wrong with a service's name that is asked for: Consul's clients give others than ours.
pub(crate) fn check_lookup(field: &str, name: &str) -> Option<Violation> {
    check_word(field, name, SERVICE_WORD_CHARS_MAX)
}

/// What is wrong with a name that is given by Consul's rules. What looks like another's name is not another
/// name. Those that were taken before are still found.
fn check_name(field: &str, word: &str, most: usize) -> Option<Violation> {
    if let Some(wrong) = check_word(field, word, most) {
        return Some(wrong);
    }
    if word.starts_with(' ') || word.ends_with(' ') {
        return Some(Violation::new(field, "must not begin or end with a space"));
    }
    let place = word.chars().position(is_invisible)?;
    let code = word.chars().nth(place).map_or(0, u32::from);
    let rule = format!(
        "must have no invisible characters, as U+{code:04X} at character {} is",
        place + 1
    );
    Some(Violation::new(field, rule))
}

/// What is wrong with a name by Consul's rules: printable, without `/`, which separates the parts
/// of its paths.
fn check_word(field: &str, word: &str, most: usize) -> Option<Violation> {
    let allowed = |c: char| !c.is_control() && c != '/';
    (!(1..=most).contains(&word.chars().count()) || !word.chars().all(allowed)).then(|| {
        let rule = format!("must be 1 to {most} printable characters without /");
        Violation::new(field, rule)
    })
}

/// What is wrong with the name of a service that registers through our own contract.
fn check_service(field: &str, name: &str) -> Option<Violation> {
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

/// What is wrong with a host. The address of nobody in particular (0.0.0.0, ::) is one that a
/// server listens on, not one that a client could reach.
pub(crate) fn check_address(field: &str, address: &str) -> Option<Violation> {
    let wrong = match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => "must be an address that clients can reach",
        Ok(_) => return None,
        Err(_) if is_dns_name(address) => return None,
        Err(_) => "must be an IP address or a DNS name, without the port",
    };
    Some(Violation::new(field, wrong))
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

/// What is wrong with where something says that it is.
fn check_locality(locality: Option<&Locality>, found: &mut Vec<Violation>) {
    for word in locality.iter().flat_map(|one| [&one.region, &one.zone]) {
        found.extend(check_chars("locality", word, 0, ZONE_CHARS_MAX));
    }
}

/// What is wrong with pairs.
pub(crate) fn check_metadata(
    field: &str,
    metadata: &BTreeMap<String, String>,
    found: &mut Vec<Violation>,
) {
    if metadata.len() > METADATA_MAX {
        found.push(Violation::new(
            field,
            format!("must be at most {METADATA_MAX} pairs"),
        ));
    }
    for (key, value) in metadata.iter().take(METADATA_MAX) {
        let echo: String = key.chars().take(ECHO_CHARS_MAX).collect();
        let chars = key.chars().count();
        if !(1..=METADATA_KEY_CHARS_MAX).contains(&chars) {
            found.push(Violation::new(
                field,
                format!(
                    "must have keys of 1 to {METADATA_KEY_CHARS_MAX} characters, not {chars} as \"{echo}\" has"
                ),
            ));
        }
        found.extend(check_chars(
            format!("{field}[\"{echo}\"]"),
            value,
            0,
            METADATA_VALUE_CHARS_MAX,
        ));
    }
}

/// What is wrong with the length of a text.
pub(crate) fn check_chars(
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
