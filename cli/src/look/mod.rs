//! `mizan services`, `mizan instances` and `mizan watch`: looking at the registry.

pub(crate) mod show;
mod watch;

use std::{io, process::ExitCode};

use mizan::Connection;
use mizan_contracts::registry::v1::{
    ListInstancesRequest, ListServicesRequest, ServiceSummary,
    registry_service_client::RegistryServiceClient,
};
use serde::Serialize;
use tonic::Status;

use crate::{
    reach::{RegistryArgs, Unreachable},
    terminal::{print, say},
};

pub(crate) use watch::watch;

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
    common: Common,
}

/// Shows the instances of a service, and then every change, until interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    instances: InstancesArgs,
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
    #[error("the registry refuses: {}", .0.message())]
    Refused(Box<Status>),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// Nobody reads any more, as in `mizan watch payment | head -1`.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

impl From<Status> for LookError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
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
    let mut client = client(&args.common).await?;
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
    let services: Vec<show::Service> = services.into_iter().map(show::Service::from).collect();
    put(&args.common, &services, |services| show::services(services))
}

async fn list_instances(args: &InstancesArgs) -> Result<(), LookError> {
    let request = ListInstancesRequest {
        service: args.service.clone(),
        include_unhealthy: !args.passing,
        filter: None,
    };
    let mut client = client(&args.common).await?;
    let answer = client.list_instances(request).await?.into_inner();
    let listing = show::Listing::new(args.service.clone(), answer.revision, answer.instances);
    put(&args.common, &listing, |listing| {
        show::instances(&listing.instances)
    })
}

async fn client(common: &Common) -> Result<RegistryServiceClient<Connection>, Unreachable> {
    let connection = common.registry.connect().await?;
    Ok(RegistryServiceClient::new(connection))
}

fn put<T: Serialize>(
    common: &Common,
    value: &T,
    text: impl Fn(&T) -> String,
) -> Result<(), LookError> {
    if common.json {
        print(&format!("{}\n", serde_json::to_string_pretty(value)?));
    } else {
        print(&text(value));
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
