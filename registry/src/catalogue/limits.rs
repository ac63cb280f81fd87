//! Every bound of the catalogue, in one place. Those on an instance are the contract's.

use std::time::Duration;

/// Instances of all services together. A thousand times the fleets this registry is built for
/// would still be a bug of the caller, and each costs memory and a poll.
pub(crate) const INSTANCES_MAX: usize = 20_000;

/// Services without instances whose revision is remembered. Names are the caller's, so the memory
/// of past ones needs an end.
pub(crate) const EMPTY_SERVICES_MAX: usize = 10_000;

/// Characters of an instance id.
pub(crate) const INSTANCE_ID_CHARS_MAX: usize = 128;

/// Characters of a service name: a DNS label.
pub(crate) const SERVICE_CHARS_MAX: usize = 63;

/// Characters of a service name that comes through Consul's API.
pub(crate) const SERVICE_WORD_CHARS_MAX: usize = 128;

/// Characters of a host: a DNS name.
pub(crate) const ADDRESS_CHARS_MAX: usize = 253;

/// Characters between two dots of a DNS name.
pub(crate) const ADDRESS_LABEL_CHARS_MAX: usize = 63;

/// Tags of an instance.
pub(crate) const TAGS_MAX: usize = 64;

/// Characters of a tag.
pub(crate) const TAG_CHARS_MAX: usize = 128;

/// Tags of an instance that comes through Consul's API, which knows no bound.
pub(crate) const CONSUL_TAGS_MAX: usize = 256;

/// Characters of a tag that comes through Consul's API: Traefik reads whole rules out of tags.
pub(crate) const CONSUL_TAG_CHARS_MAX: usize = 4096;

/// Bytes of all tags of an instance together: they go into every answer about it.
pub(crate) const TAGS_BYTES_MAX: usize = 65_536;

/// Metadata pairs of an instance.
pub(crate) const METADATA_MAX: usize = 64;

/// Characters of a metadata key.
pub(crate) const METADATA_KEY_CHARS_MAX: usize = 128;

/// Characters of a metadata value.
pub(crate) const METADATA_VALUE_CHARS_MAX: usize = 512;

/// Instances of a node that are remembered as taken out after they were removed for being dead.
pub(crate) const TAKEN_OUT_MAX: usize = 1_000;

/// Ports of an instance that comes through Consul's API.
pub(crate) const PORTS_MAX: usize = 64;

/// The greatest weight of an instance.
pub(crate) const WEIGHT_MAX: u32 = 1000;

/// The greatest weight of an instance that comes through Consul's API.
pub(crate) const CONSUL_WEIGHT_MAX: u32 = 65_535;

/// Characters of a zone. The contract names no bound; this is that of the other labels.
pub(crate) const ZONE_CHARS_MAX: usize = 128;

/// Characters of the service name a gRPC check asks about. The contract names no bound; full
/// protobuf names are far shorter.
pub(crate) const CHECK_SERVICE_CHARS_MAX: usize = 256;

/// The shortest time between two checks.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The longest time between two checks.
pub(crate) const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// The time between two checks when nobody says.
pub(crate) const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

/// The shortest time one check may be given.
pub(crate) const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// The longest time one check may be given.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The time one check is given when nobody says.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// Characters kept of a result's output: it comes from whoever was checked. Consul keeps 4096.
pub(crate) const OUTPUT_CHARS_MAX: usize = 1024;

/// Checks of one instance or node. Each costs a task and a connection.
pub(crate) const CHECKS_MAX: usize = 16;

/// Characters of the id, the name and the notes of a check.
pub(crate) const CHECK_TEXT_CHARS_MAX: usize = 256;

/// Characters of a URL that is checked.
pub(crate) const URL_CHARS_MAX: usize = 2048;

/// Headers of an HTTP check.
pub(crate) const HEADERS_MAX: usize = 32;

/// Bytes of the body of an HTTP check, and of a header's value.
pub(crate) const BODY_BYTES_MAX: usize = 4096;

/// The shortest time that a report counts.
pub(crate) const TTL_MIN: Duration = Duration::from_millis(100);

/// The longest time that a report counts: a day. Consul sets no bound.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(86_400);

/// The greatest threshold of a check.
pub(crate) const THRESHOLD_MAX: u32 = 100;

/// The longest time until an instance is removed: a year. There is no shortest.
pub(crate) const REAP_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Characters of a reason of maintenance.
pub(crate) const MAINTENANCE_CHARS_MAX: usize = 256;

/// Characters of a node's name.
pub(crate) const NODE_CHARS_MAX: usize = 128;

/// How long what was known before a restart counts without a new sign of life. Instances look for
/// their registry every 2 s at the longest; a check takes 2 s; the rest is for slow machines.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// How late a sweep may be. One that is later says that the registry itself stood still, and
/// whoever could not report meanwhile gets that time back.
pub(crate) const STALL: Duration = Duration::from_secs(1);
