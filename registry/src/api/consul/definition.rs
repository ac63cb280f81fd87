//! From the bodies of registrations to the catalogue's types.

use std::net::IpAddr;

use super::{input::Fields, refusal::Refusal};
use crate::catalogue::{
    Candidate, CandidateCheck, CheckKind, Locality, NamedPort, Naming, Status, Tls, limits,
};

/// How long a check may take when nobody says (Consul's rule); never longer than its interval.
const TIMEOUT_DEFAULT_NANOS: i128 = 10_000_000_000;

/// What a body may ask for that would need what there is not, and what that is.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("UDP", "UDP checks are not supported"),
    (
        "H2PING",
        "HTTP/2 ping checks are not supported; a gRPC check may do",
    ),
    (
        "OSService",
        "checks of the operating system's services are not supported",
    ),
    (
        "DockerContainerID",
        "Docker checks are not supported: the registry starts no programs",
    ),
    (
        "ScriptArgs",
        "script checks are not supported: the registry starts no programs",
    ),
    (
        "Args",
        "script checks are not supported: the registry starts no programs",
    ),
    (
        "Script",
        "script checks are not supported: the registry starts no programs",
    ),
];

/// The registration of a service on the registry's own node.
pub(super) fn service(body: &Fields, node: &str) -> Result<Candidate, Refusal> {
    let mut candidate = named(body, body.text("Name")?, node, Weightless::Refused)?;
    let (id, name) = (&candidate.instance_id, &candidate.service);
    candidate.checks = checks(body, id, name, node)?;
    Ok(candidate)
}

/// The service of a registration in the catalogue, on the node that is named there. Its checks come
/// beside it, not in it.
pub(super) fn catalog_service(body: &Fields, node: &str) -> Result<Candidate, Refusal> {
    named(body, body.text("Service")?, node, Weightless::Usual)
}

/// What weights of 0 mean. Clients that write the catalogue send them when nobody gave any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weightless {
    Usual,
    Refused,
}

fn named(
    body: &Fields,
    name: String,
    node: &str,
    weightless: Weightless,
) -> Result<Candidate, Refusal> {
    if body.has("Kind") {
        return Err(Refusal::bad(
            "Invalid service: Kind: proxies and gateways are not supported",
        ));
    }
    if name.is_empty() {
        return Err(Refusal::bad("Missing service name"));
    }
    let address = body.text("Address")?;
    if address.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()) {
        return Err(Refusal::bad("Invalid service address"));
    }
    let id = body.given("ID")?.unwrap_or_else(|| name.clone());
    let (weight, warning_weight) = weights(body, weightless)?;
    let mut tagged_addresses = std::collections::BTreeMap::new();
    for (tag, place) in body.named("TaggedAddresses")? {
        let port = u16::try_from(place.number("Port")?.unwrap_or(0));
        let port = port.map_err(|_| {
            Refusal::bad("Invalid service: TaggedAddresses: a port must be 0 to 65535")
        })?;
        tagged_addresses.insert(tag, (place.text("Address")?, port));
    }
    let ports = ports(body)?;
    let port = match (body.number("Port")?.unwrap_or(0), &*ports) {
        (0, [first, ..]) => {
            let default = ports.iter().find(|one| one.default);
            u32::from(default.unwrap_or(first).port)
        }
        (port, _) => port,
    };
    let locality = locality(body)?;
    Ok(Candidate {
        naming: Naming::Consul,
        node: node.to_owned(),
        checks: Vec::new(),
        instance_id: id,
        service: name,
        address,
        port,
        tags: body.texts("Tags")?,
        metadata: body.pairs("Meta")?,
        weight,
        warning_weight,
        zone: locality
            .as_ref()
            .map_or_else(String::new, |one| one.zone.clone()),
        locality,
        ports,
        socket_path: body.text("SocketPath")?,
        tagged_addresses,
        enable_tag_override: body.flag("EnableTagOverride")?,
    })
}

/// Where a service or a node says that it is.
pub(super) fn locality(body: &Fields) -> Result<Option<Locality>, Refusal> {
    let Some(given) = body.object("Locality")? else {
        return Ok(None);
    };
    let (region, zone) = (given.text("Region")?, given.text("Zone")?);
    Ok((!region.is_empty() || !zone.is_empty()).then_some(Locality { region, zone }))
}

/// The ports of a service that has several.
fn ports(body: &Fields) -> Result<Vec<NamedPort>, Refusal> {
    let given = body.objects("Ports")?.into_iter();
    let ports = given.map(|one| {
        let port = one
            .number("Port")?
            .and_then(|port| u16::try_from(port).ok());
        let port = port
            .filter(|port| *port > 0)
            .ok_or_else(|| Refusal::bad("Invalid service: Ports: a port must be 1 to 65535"))?;
        Ok(NamedPort {
            name: one.text("Name")?,
            port,
            default: one.flag("Default")?,
        })
    });
    ports.collect()
}

fn weights(body: &Fields, weightless: Weightless) -> Result<(u32, Option<u32>), Refusal> {
    let Some(weights) = body.object("Weights")? else {
        return Ok((1, None));
    };
    let passing = weights.number("Passing")?.unwrap_or(1);
    let warning = weights.number("Warning")?;
    if weightless == Weightless::Usual && passing == 0 && warning.unwrap_or(0) == 0 {
        return Ok((1, None));
    }
    let most = limits::CONSUL_WEIGHT_MAX;
    if passing < 1 || passing > most || warning.is_some_and(|warning| warning > most) {
        let rule = format!("Passing must be 1 to {most}, and Warning 0 to {most}");
        return Err(Refusal::bad(format!("Invalid Weights: {rule}")));
    }
    Ok((passing, warning))
}

/// The checks of a service: `Check` and `Checks` together, each with its field.
fn checks(
    body: &Fields,
    id: &str,
    name: &str,
    node: &str,
) -> Result<Vec<(String, CandidateCheck)>, Refusal> {
    let one = body.object("Check")?.filter(|check| !check.is_empty());
    let one = one.map(|check| ("Check".to_owned(), check));
    let more = body.objects("Checks")?.into_iter().enumerate();
    let more = more.map(|(index, check)| (format!("Checks[{index}]"), check));
    let all: Vec<_> = one.into_iter().chain(more).collect();
    let several = all.len() > 1;
    let numbered = all.into_iter().zip(1..);
    let candidates = numbered.map(|((field, fields), number)| {
        let mut candidate = check(&fields, node)?;
        if candidate.check_id.is_empty() {
            candidate.check_id = match several {
                true => format!("service:{id}:{number}"),
                false => format!("service:{id}"),
            };
        }
        if candidate.name.is_empty() {
            candidate.name = format!("Service '{name}' check");
        }
        Ok((field, candidate))
    });
    candidates.collect()
}

/// One check.
pub(super) fn check(fields: &Fields, node: &str) -> Result<CandidateCheck, Refusal> {
    for (field, why) in UNSUPPORTED {
        if fields.has(field) {
            return Err(invalid(&format!("{field}: {why}")));
        }
    }
    let kind = kind(fields, node)?;
    let interval = fields.duration("Interval")?;
    let run = matches!(
        kind,
        CheckKind::Grpc { .. } | CheckKind::Http { .. } | CheckKind::Tcp { .. }
    );
    if run && interval.is_none_or(|nanos| nanos <= 0) {
        return Err(invalid(
            "Interval must be > 0 for HTTP, TCP and gRPC checks",
        ));
    }
    if matches!(kind, CheckKind::Ttl { .. }) && interval.is_some_and(|nanos| nanos > 0) {
        return Err(invalid("Interval and TTL cannot both be given"));
    }
    let (interval_nanos, timeout_nanos) = times(interval, fields.duration("Timeout")?);
    let warning = fields.number("FailuresBeforeWarning")?.unwrap_or(0);
    let critical = fields.number("FailuresBeforeCritical")?.unwrap_or(0);
    // Go's counts begin at none, which turns at the first failure, as one does here.
    if warning > critical.max(1) {
        return Err(invalid(
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ));
    }
    let reap = fields.duration("DeregisterCriticalServiceAfter")?;
    let id = fields.given("CheckID")?;
    Ok(CandidateCheck {
        check_id: match id {
            Some(id) => id,
            None => fields.text("ID")?,
        },
        name: fields.text("Name")?,
        notes: fields.text("Notes")?,
        kind: Some(kind),
        interval_nanos,
        timeout_nanos,
        success_before_passing: fields.number("SuccessBeforePassing")?.unwrap_or(0),
        failures_before_warning: warning,
        failures_before_critical: critical,
        deregister_critical_after_nanos: reap.filter(|nanos| *nanos != 0),
        initial: initial(fields)?,
        tls: tls(fields)?,
        detached: false,
    })
}

/// An interval that is too short is raised, as Consul does; and a run may take as long as it likes
/// there, while here it ends with its interval.
fn times(interval: Option<i128>, timeout: Option<i128>) -> (Option<i128>, Option<i128>) {
    let nanos = |duration: std::time::Duration| i128::try_from(duration.as_nanos()).unwrap_or(0);
    let Some(interval) = interval.filter(|interval| *interval > 0) else {
        return (None, None);
    };
    let interval = interval.max(nanos(limits::INTERVAL_MIN));
    let timeout = timeout.filter(|timeout| *timeout > 0);
    let timeout = timeout
        .unwrap_or(TIMEOUT_DEFAULT_NANOS)
        .max(nanos(limits::TIMEOUT_MIN))
        .min(nanos(limits::TIMEOUT_MAX))
        .min(interval);
    (Some(interval), Some(timeout))
}

/// What a check says before its first result, if it says.
pub(super) fn initial(fields: &Fields) -> Result<Option<Status>, Refusal> {
    let word = fields.given("Status")?;
    word.map(|word| status(&word).ok_or_else(wrong_status))
        .transpose()
}

/// How TLS is spoken: by a gRPC or TCP check when it says so, by an HTTP check when its URL does.
fn tls(fields: &Fields) -> Result<Option<Tls>, Refusal> {
    let asked = fields.flag("GRPCUseTLS")? || fields.flag("TCPUseTLS")? || fields.has("HTTP");
    let tls = Tls {
        server_name: fields.text("TLSServerName")?,
        skip_verify: fields.flag("TLSSkipVerify")?,
    };
    Ok(Some(tls).filter(|_| asked))
}

fn kind(fields: &Fields, node: &str) -> Result<CheckKind, Refusal> {
    let ttl = fields.duration("TTL")?.filter(|nanos| *nanos != 0);
    let mut kinds = Vec::new();
    if let Some(url) = fields.given("HTTP")? {
        kinds.push(CheckKind::Http {
            url,
            method: fields.given("Method")?.unwrap_or_else(|| "GET".to_owned()),
            headers: fields.headers("Header")?,
            body: fields.text("Body")?,
            follow_redirects: !fields.flag("DisableRedirects")?,
        });
    }
    if let Some(target) = fields.given("TCP")? {
        let target = Some(target);
        kinds.push(CheckKind::Tcp { target });
    }
    if let Some(grpc) = fields.given("GRPC")? {
        let (target, service) = grpc.split_once('/').unwrap_or((&grpc, ""));
        kinds.push(CheckKind::Grpc {
            target: Some(target.to_owned()),
            service: service.to_owned(),
        });
    }
    if let Some(nanos) = ttl {
        let nanos = u64::try_from(nanos).map_err(|_| invalid("TTL must be > 0"))?;
        let ttl = std::time::Duration::from_nanos(nanos);
        kinds.push(CheckKind::Ttl { ttl });
    }
    if fields.has("AliasNode") || fields.has("AliasService") {
        let of_node = fields.given("AliasNode")?;
        kinds.push(CheckKind::Alias {
            node: of_node.unwrap_or_else(|| node.to_owned()),
            instance_id: fields.text("AliasService")?,
        });
    }
    match (kinds.pop(), kinds.is_empty()) {
        (Some(kind), true) => Ok(kind),
        _ => Err(invalid(
            "a check has exactly one of HTTP, TCP, GRPC, TTL and AliasService or AliasNode",
        )),
    }
}

/// What a check may say.
pub(super) fn status(word: &str) -> Option<Status> {
    [Status::Passing, Status::Warning, Status::Critical]
        .into_iter()
        .find(|status| status.word() == word)
}

fn wrong_status() -> Refusal {
    Refusal::bad("Status for checks must 'passing', 'warning', 'critical'")
}

fn invalid(why: &str) -> Refusal {
    Refusal::bad(format!("Invalid check: {why}"))
}
