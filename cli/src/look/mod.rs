//! `mizan services`, `instances`, `watch` and `top`: looking at the registry; `drain`, `maint` and
//! `deregister`: steering it.

mod screen;
pub(crate) mod show;
mod steer;
mod top;
mod watch;

use std::{io, process::ExitCode, time::Duration};

use mizan::Connection;
use mizan_contracts::registry::v1::{
    InstanceFilter, ListInstancesRequest, ListServicesRequest, ServiceSummary,
    registry_service_client::RegistryServiceClient,
};
use serde::Serialize;
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::{
    reach::{RegistryArgs, Unreachable},
    terminal::{print_json, print_lines, say},
};

pub(crate) use steer::{DeregisterArgs, DrainArgs, MaintArgs, deregister, drain, maint};
pub(crate) use top::{TopArgs, top};
pub(crate) use watch::{WatchArgs, watch};

/// Lists the services and how many of their instances are passing.
#[derive(Debug, clap::Args)]
pub(crate) struct ServicesArgs {
    #[command(flatten)]
    common: Common,
}

/// Lists the instances of a service.
#[derive(Debug, clap::Args)]
pub(crate) struct InstancesArgs {
    /// The service's name, such as payment.
    #[arg(value_name = "NAME")]
    service: String,

    /// Only those that are passing, which is what clients see.
    #[arg(long)]
    passing: bool,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    common: Common,
}

/// Which instances to show.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only those that carry this tag; may be given again.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,

    /// Only those in this zone.
    #[arg(long, default_value = "")]
    zone: String,

    /// Only those with this metadata; may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
}

impl Which {
    fn filter(&self) -> InstanceFilter {
        InstanceFilter {
            tags: self.tag.clone(),
            zone: self.zone.clone(),
            metadata: self.metadata.iter().cloned().collect(),
            statuses: Vec::new(),
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("is not KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    registry: RegistryArgs,

    /// Print JSON: one document, or one line for every change.
    #[arg(long)]
    json: bool,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("the registry is away: {}", .0.message())]
    Away(Box<Status>),
    #[error("the registry refuses: {}", .0.message())]
    Refused(Box<Status>),
    #[error("no instance {instance_id} is registered on {}", node_words(node))]
    NoInstance { instance_id: String, node: String },
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// Nobody reads any more, as in `mizan watch payment | head -1`.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

fn node_words(node: &str) -> String {
    if node.is_empty() {
        "the registry's own node; name another with --node, as `mizan instances` shows it"
            .to_owned()
    } else {
        format!("node {node}")
    }
}

impl From<Status> for LookError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unavailable => Self::Away(Box::new(status)),
            _ => Self::Refused(Box::new(status)),
        }
    }
}

/// Runs `mizan services`.
pub(crate) async fn services(args: ServicesArgs) -> ExitCode {
    exit(list_services(&args).await)
}

/// Runs `mizan instances`.
pub(crate) async fn instances(args: InstancesArgs) -> ExitCode {
    exit(list_instances(&args).await)
}

async fn list_services(args: &ServicesArgs) -> Result<(), LookError> {
    let services = list_all(&mut client(&args.common).await?).await?;
    put(&args.common, &services, |services| show::services(services))
}

async fn list_all(
    client: &mut RegistryServiceClient<Connection>,
) -> Result<Vec<show::Service>, LookError> {
    let mut services: Vec<ServiceSummary> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListServicesRequest {
            page_size: 0,
            page_token,
        };
        let page = client.list_services(request).await?.into_inner();
        services.extend(page.services);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(services.into_iter().map(show::Service::from).collect())
}

async fn list_instances(args: &InstancesArgs) -> Result<(), LookError> {
    let request = ListInstancesRequest {
        service: args.service.clone(),
        include_unhealthy: !args.passing,
        filter: Some(args.which.filter()),
    };
    let mut client = client(&args.common).await?;
    let answer = client.list_instances(request).await?.into_inner();
    let listing = show::Listing::new(args.service.clone(), answer.revision, answer.instances);
    put(&args.common, &listing, show::instances)
}

async fn client(common: &Common) -> Result<RegistryServiceClient<Connection>, Unreachable> {
    let connection = common.registry.connect().await?;
    Ok(RegistryServiceClient::new(connection))
}

/// The registry again, whenever it comes back: whoever follows it waits for it, after a `pause`.
async fn again(common: &Common, pause: Duration) -> RegistryServiceClient<Connection> {
    loop {
        sleep(pause).await;
        // Why not is said by the connecting already.
        if let Ok(client) = client(common).await {
            return client;
        }
    }
}

fn put<T: Serialize>(
    common: &Common,
    value: &T,
    text: impl Fn(&T) -> String,
) -> Result<(), LookError> {
    if common.json {
        print_json(&format!("{}\n", serde_json::to_string_pretty(value)?));
    } else {
        print_lines(&text(value));
    }
    Ok(())
}

fn exit(outcome: Result<(), LookError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(LookError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("mizan: {}", mizan::process::chain(&error)));
            ExitCode::FAILURE
        }
    }
}
