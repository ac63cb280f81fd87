//! Endpoints: where an instance listens, and what its source says of it.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The largest weight an instance can have, as in the registry's contract.
pub const WEIGHT_MAX: u32 = 1000;

/// The longest name that DNS allows.
const HOST_LEN_MAX: usize = 253;

/// Where an instance listens, and what its source says of it.
///
/// ```
/// use mizan::discover::Endpoint;
///
/// let endpoint = Endpoint::new("10.0.0.7:7001")?.with_weight(200).with_zone("eu-1a");
/// assert_eq!(endpoint.authority(), "10.0.0.7:7001");
/// assert!(Endpoint::new("10.0.0.7").is_err());
/// # Ok::<(), mizan::discover::InvalidAuthority>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) authority: String,
    pub(crate) weight: u32,
    pub(crate) zone: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What was given is neither a HOST:PORT nor a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{authority:?} is not a HOST:PORT: {rule}")]
pub struct InvalidAuthority {
    authority: String,
    rule: &'static str,
}

impl Endpoint {
    /// At `authority`, a HOST:PORT: an IPv4 address, an IPv6 address in brackets or a DNS name, and
    /// a port from 1; or at a Unix socket, `unix:PATH`. The weight is 1, the zone unknown, the metadata
    /// empty.
    ///
    /// # Errors
    /// [`InvalidAuthority`] with the rule that is broken.
    pub fn new(authority: impl Into<String>) -> Result<Self, InvalidAuthority> {
        let authority = authority.into();
        match check(&authority) {
            Ok(()) => Ok(Self::unchecked(authority)),
            Err(rule) => Err(InvalidAuthority { authority, rule }),
        }
    }

    /// At an IP address, which is always a valid authority unless the port is 0.
    #[must_use]
    pub fn at(ip: IpAddr, port: u16) -> Self {
        Self::unchecked(std::net::SocketAddr::new(ip, port).to_string())
    }

    fn unchecked(authority: String) -> Self {
        Self {
            authority,
            weight: 1,
            zone: String::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The share of the load relative to other instances, 1 to [`WEIGHT_MAX`]. What is outside, as
    /// another system may say, becomes the nearest that is inside.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight.clamp(1, WEIGHT_MAX);
        self
    }

    /// The failure zone, such as a rack or a data centre; empty when unknown.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }

    /// Free key-value pairs.
    #[must_use]
    pub fn with_metadata(mut self, metadata: BTreeMap<String, String>) -> Self {
        self.metadata = metadata;
        self
    }

    /// HOST:PORT, or `unix:PATH`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The share of the load, 1 to [`WEIGHT_MAX`].
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The failure zone; empty when unknown.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Free key-value pairs.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// The HOST:PORT of a host and a port: IPv6 addresses get their brackets.
pub(super) fn authority(host: &str, port: u32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Each authority once, in the order given; of several with the same, the first.
pub(super) fn distinct(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut seen = HashSet::with_capacity(endpoints.len());
    endpoints.retain(|endpoint| seen.insert(endpoint.authority.clone()));
    endpoints
}

/// The path of a Unix socket, if that is what it names: `unix:PATH`, or `unix://` and a path from the
/// root, as in gRPC's names. Digits alone are the port of a host called so.
pub(crate) fn unix_path(authority: &str) -> Option<&str> {
    let path = authority.strip_prefix("unix:")?;
    if !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let rooted = path.strip_prefix("//");
    Some(rooted.filter(|path| path.starts_with('/')).unwrap_or(path))
}

fn check(authority: &str) -> Result<(), &'static str> {
    match unix_path(authority) {
        Some("") => return Err("there is no path"),
        Some(_) => return Ok(()),
        None => {}
    }
    let (host, port) = authority.rsplit_once(':').ok_or("there is no port")?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => {}
        _ => return Err("the port must be 1 to 65535"),
    }
    if let Some(rest) = host.strip_prefix('[') {
        let inner = rest.strip_suffix(']').ok_or("the bracket is not closed")?;
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("what is in brackets must be an IPv6 address"),
        };
    }
    if host.is_empty() {
        return Err("there is no host");
    }
    if host.contains(':') {
        return Err("an IPv6 address needs brackets");
    }
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if host.len() > HOST_LEN_MAX || !host.bytes().all(letters) {
        return Err("the host must be an IP address or a DNS name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_connected_to_is_taken() {
        for authority in ["10.0.0.1:1", "[::1]:65535", "a-b.c_d.example:80", "x.:443"] {
            assert_eq!(Endpoint::new(authority).unwrap().authority(), authority);
        }
        for (socket, path) in [
            ("unix:a.sock", "a.sock"),
            ("unix:/a b", "/a b"),
            ("unix:///a", "/a"),
        ] {
            assert_eq!(
                unix_path(Endpoint::new(socket).unwrap().authority()),
                Some(path)
            );
        }
        // What somebody registers leads to no socket of ours.
        let named = Endpoint::new(authority("unix", 80)).unwrap();
        assert_eq!(unix_path(named.authority()), None);
        assert_eq!(unix_path(&authority("unix:/a", 80)), None);
        assert_eq!(authority("::1", 7), "[::1]:7");
        assert_eq!(authority("h", 7), "h:7");
        let at = Endpoint::at("::1".parse().unwrap(), 7);
        assert_eq!(Endpoint::new("[::1]:7").unwrap(), at);
    }

    #[test]
    fn what_cannot_is_refused_by_name_and_rule() {
        for (authority, rule) in [
            ("", "there is no port"),
            ("host", "there is no port"),
            ("host:", "the port must be 1 to 65535"),
            ("host:0", "the port must be 1 to 65535"),
            ("host:+80", "the port must be 1 to 65535"),
            ("host:65536", "the port must be 1 to 65535"),
            (":80", "there is no host"),
            ("unix:", "there is no path"),
            ("::1:80", "an IPv6 address needs brackets"),
            ("[::1:80", "the bracket is not closed"),
            ("[host]:80", "what is in brackets must be an IPv6 address"),
            ("http://host:80", "an IPv6 address needs brackets"),
            (
                "user@host:80",
                "the host must be an IP address or a DNS name",
            ),
            ("a b:80", "the host must be an IP address or a DNS name"),
        ] {
            let refused = Endpoint::new(authority).unwrap_err();
            assert_eq!(refused.rule, rule, "{authority}");
            assert!(refused.to_string().contains(&format!("{authority:?}")));
        }
    }

    #[test]
    fn weights_stay_in_their_bounds() {
        let weight = |given| Endpoint::new("h:1").unwrap().with_weight(given).weight();
        assert_eq!([0, 1, 1000, 1001].map(weight), [1, 1, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_taken_can_be_addressed(text in "\\PC{0,20}|[a-z\\[\\]:.0-9@-]{0,20}") {
            if unix_path(&text).is_none() && Endpoint::new(&*text).is_ok() {
                let parsed: http::uri::Authority = text.parse().unwrap();
                prop_assert!(parsed.port_u16().is_some_and(|port| port > 0));
            }
        }

        #[test]
        fn distinct_keeps_the_first_of_each_in_order(ports in prop::collection::vec(1u16..8, 0..20)) {
            let weighed = ports.iter().zip(1..).map(|(port, weight)| {
                Endpoint::new(format!("h:{port}")).unwrap().with_weight(weight)
            });
            let given: Vec<_> = weighed.collect();
            let kept = distinct(given.clone());
            for endpoint in &given {
                let first = given.iter().find(|e| e.authority == endpoint.authority).unwrap();
                let same: Vec<_> = kept.iter().filter(|e| e.authority == endpoint.authority).collect();
                prop_assert_eq!(same, vec![first]);
            }
            prop_assert!(kept.windows(2).all(|pair| pair[0].weight < pair[1].weight));
            prop_assert_eq!(distinct(kept.clone()), kept);
        }
    }
}
