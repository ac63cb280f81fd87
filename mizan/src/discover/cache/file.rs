//! The file that a list is kept in. Pure: bytes and times in, bytes and lists out.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::discover::Endpoint;

/// The only format so far.
const FORMAT: u32 = 1;

/// Why a file is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Not what this module writes.
    #[error("it is corrupt: {0}")]
    Corrupt(String),
    /// Written by another version, or for another service.
    #[error("it is foreign: {0}")]
    Foreign(String),
    /// Instances come and go: what it lists may be somebody else's address by now.
    #[error("it is {} s old, more than {} s", age.as_secs(), max.as_secs())]
    Old { age: Duration, max: Duration },
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    mizan_discovery_cache: u32,
    service: String,
    /// When the source last vouched for the list.
    written_unix_ms: u64,
    endpoints: Vec<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    authority: String,
    weight: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    zone: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// What is written for a list that its source vouched for at `now`, the time since 1970.
pub(super) fn encode(service: &str, endpoints: &[Endpoint], now: Duration) -> Vec<u8> {
    let kept = endpoints.iter().map(|endpoint| Kept {
        authority: endpoint.authority.clone(),
        weight: endpoint.weight,
        zone: endpoint.zone.clone(),
        metadata: endpoint.metadata.clone(),
    });
    let file = File {
        mizan_discovery_cache: FORMAT,
        service: service.to_owned(),
        written_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        endpoints: kept.collect(),
    };
    // Strings and numbers always make JSON.
    serde_json::to_vec(&file).unwrap_or_default()
}

/// The list in a file, and how old it is at `now`.
pub(super) fn decode(
    bytes: &[u8],
    service: &str,
    now: Duration,
    age_max: Duration,
) -> Result<(Vec<Endpoint>, Duration), Unusable> {
    let file: File =
        serde_json::from_slice(bytes).map_err(|error| Unusable::Corrupt(error.to_string()))?;
    if file.mizan_discovery_cache != FORMAT {
        return Err(Unusable::Foreign(format!(
            "format {}",
            file.mizan_discovery_cache
        )));
    }
    if file.service != service {
        return Err(Unusable::Foreign(format!("of service {:?}", file.service)));
    }
    let written = Duration::from_millis(file.written_unix_ms);
    // A clock that was set back a little is no reason to distrust the file; one that is far off is.
    if written.saturating_sub(now) > age_max {
        return Err(Unusable::Foreign("from the future".to_owned()));
    }
    let age = now.saturating_sub(written);
    if age > age_max {
        return Err(Unusable::Old { age, max: age_max });
    }
    let endpoints = file.endpoints.into_iter().map(|kept| {
        let endpoint = Endpoint::new(kept.authority)?;
        let endpoint = endpoint.with_weight(kept.weight).with_zone(kept.zone);
        Ok(endpoint.with_metadata(kept.metadata))
    });
    let endpoints = endpoints
        .collect::<Result<_, crate::discover::InvalidAuthority>>()
        .map_err(|error| Unusable::Corrupt(error.to_string()))?;
    Ok((endpoints, age))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn list() -> Vec<Endpoint> {
        let plain = Endpoint::new("10.0.0.1:1").unwrap();
        let metadata = BTreeMap::from([("k".to_owned(), "v\"\n".to_owned())]);
        let rich = Endpoint::new("[::1]:2").unwrap().with_weight(7);
        vec![plain, rich.with_zone("z").with_metadata(metadata)]
    }

    #[test]
    fn what_is_written_is_read_with_its_age() {
        let bytes = encode("s", &list(), DAY);
        let read = decode(&bytes, "s", DAY * 2, DAY);
        assert_eq!(read, Ok((list(), DAY)));
        // The clock was set back.
        let read = decode(&bytes, "s", DAY / 2, DAY);
        assert_eq!(read, Ok((list(), Duration::ZERO)));
    }

    #[test]
    fn what_is_old_or_foreign_or_corrupt_is_refused_and_says_so() {
        let bytes = encode("s", &list(), DAY * 10);
        let reason = |bytes: &[u8], service, now| {
            let refused = decode(bytes, service, now, DAY).unwrap_err();
            refused.to_string()
        };
        let millisecond = Duration::from_millis(1);
        let old = reason(&bytes, "s", DAY * 11 + millisecond);
        assert_eq!(old, "it is 86400 s old, more than 86400 s");
        assert_eq!(
            reason(&bytes, "s", DAY * 9 - millisecond),
            "it is foreign: from the future"
        );
        assert_eq!(
            reason(&bytes, "t", DAY * 10),
            "it is foreign: of service \"s\""
        );
        let text = String::from_utf8(bytes).unwrap();
        let other = text.replace("cache\":1", "cache\":2");
        assert_eq!(
            reason(other.as_bytes(), "s", DAY * 10),
            "it is foreign: format 2"
        );
        let malformed = text.replace("10.0.0.1:1", "10.0.0.1");
        assert!(reason(malformed.as_bytes(), "s", DAY * 10).contains("corrupt"));
        assert!(reason(&text.as_bytes()[..40], "s", DAY * 10).contains("corrupt"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), now: u32) {
            let now = Duration::from_secs(u64::from(now));
            prop_assert!(decode(&bytes, "s", now, DAY).is_err());
        }

        #[test]
        fn no_damage_panics(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = encode("s", &list(), DAY);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // What is still read has only endpoints that can be connected to.
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok((endpoints, _)) = decode(bytes, "s", DAY, DAY) {
                    for endpoint in endpoints {
                        prop_assert!(Endpoint::new(endpoint.authority).is_ok());
                        prop_assert!((1..=1000).contains(&endpoint.weight));
                    }
                }
            }
        }

        #[test]
        fn every_list_survives(ports in prop::collection::vec(1u16.., 0..20), weight in 1u32..=1000, zone: String, value: String) {
            let list: Vec<_> = ports.iter().map(|port| {
                let endpoint = Endpoint::new(format!("h:{port}")).unwrap();
                let metadata = BTreeMap::from([(zone.clone(), value.clone())]);
                endpoint.with_weight(weight).with_zone(zone.clone()).with_metadata(metadata)
            }).collect();
            let read = decode(&encode(&value, &list, DAY), &value, DAY, DAY);
            prop_assert_eq!(read, Ok((list, Duration::ZERO)));
        }
    }
}
