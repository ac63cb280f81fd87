//! Which paths there are.

use http::Method;

use super::{query::decode, refusal::Refusal};
use crate::catalogue::Status;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    AgentSelf,
    AgentMembers,
    AgentServices,
    AgentService(String),
    AgentChecks,
    RegisterService,
    DeregisterService(String),
    ServiceMaintenance(String),
    NodeMaintenance,
    RegisterCheck,
    DeregisterCheck(String),
    ReportCheck(Status, String),
    UpdateCheck(String),
    AgentHealthById(String),
    AgentHealthByName(String),
    CatalogRegister,
    CatalogDeregister,
    CatalogDatacenters,
    CatalogServices,
    CatalogService(String),
    CatalogNodes,
    CatalogNode(String),
    CatalogNodeServices(String),
    HealthService(String),
    HealthChecks(String),
    HealthNode(String),
    HealthState(String),
    StatusLeader,
    StatusPeers,
}

impl Route {
    /// What a path below `/v1/` means.
    pub(super) fn find(path: &str) -> Result<Self, Refusal> {
        let parts: Vec<_> = path.splitn(4, '/').map(decode).collect();
        let words: Vec<_> = parts.iter().map(String::as_str).collect();
        let named = |text: &str, missing: &str| match text {
            "" => Err(Refusal::bad(missing)),
            text => Ok(text.to_owned()),
        };
        let service = |name| named(name, "Missing service name");
        let service_id = |id| named(id, "Missing service ID");
        let node = |name| named(name, "Missing node name");
        let check = |id| named(id, "Missing check ID");
        Ok(match words[..] {
            ["agent", "self"] => Self::AgentSelf,
            ["agent", "members"] => Self::AgentMembers,
            ["agent", "services"] => Self::AgentServices,
            ["agent", "checks"] => Self::AgentChecks,
            ["agent", "maintenance"] => Self::NodeMaintenance,
            ["agent", "service", "register"] => Self::RegisterService,
            ["agent", "service", "deregister", id] => Self::DeregisterService(service_id(id)?),
            ["agent", "service", "maintenance", id] => Self::ServiceMaintenance(service_id(id)?),
            ["agent", "service", id] => Self::AgentService(service_id(id)?),
            ["agent", "check", "register"] => Self::RegisterCheck,
            ["agent", "check", "deregister", id] => Self::DeregisterCheck(check(id)?),
            ["agent", "check", "pass", id] => Self::ReportCheck(Status::Passing, check(id)?),
            ["agent", "check", "warn", id] => Self::ReportCheck(Status::Warning, check(id)?),
            ["agent", "check", "fail", id] => Self::ReportCheck(Status::Critical, check(id)?),
            ["agent", "check", "update", id] => Self::UpdateCheck(check(id)?),
            ["agent", "health", "service", rest] => match rest.split_once('/') {
                Some(("id", id)) => Self::AgentHealthById(service_id(id)?),
                Some(("name", name)) => Self::AgentHealthByName(service(name)?),
                _ => return Err(not_served()),
            },
            ["catalog", "register"] => Self::CatalogRegister,
            ["catalog", "deregister"] => Self::CatalogDeregister,
            ["catalog", "datacenters"] => Self::CatalogDatacenters,
            ["catalog", "services"] => Self::CatalogServices,
            ["catalog", "service", name] => Self::CatalogService(service(name)?),
            ["catalog", "nodes"] => Self::CatalogNodes,
            ["catalog", "node", name] => Self::CatalogNode(node(name)?),
            ["catalog", "node-services", name] => Self::CatalogNodeServices(node(name)?),
            ["health", "service", name] => Self::HealthService(service(name)?),
            ["health", "checks", name] => Self::HealthChecks(service(name)?),
            ["health", "node", name] => Self::HealthNode(node(name)?),
            ["health", "state", state] => Self::HealthState(named(state, "Missing check state")?),
            ["status", "leader"] => Self::StatusLeader,
            ["status", "peers"] => Self::StatusPeers,
            ["kv", ..] => {
                return Err(Refusal::not_served(
                    "There is no key-value store here: this registry serves service discovery only.",
                ));
            }
            _ => return Err(not_served()),
        })
    }

    /// The one method it takes.
    pub(super) fn method(&self) -> Method {
        match self {
            Self::RegisterService
            | Self::DeregisterService(_)
            | Self::ServiceMaintenance(_)
            | Self::NodeMaintenance
            | Self::CatalogRegister
            | Self::CatalogDeregister
            | Self::RegisterCheck
            | Self::DeregisterCheck(_)
            | Self::ReportCheck(..)
            | Self::UpdateCheck(_) => Method::PUT,
            _ => Method::GET,
        }
    }
}

fn not_served() -> Refusal {
    Refusal::not_served(
        "This registry does not serve that part of Consul's API; docs/CONSUL.md lists what it serves.",
    )
}
