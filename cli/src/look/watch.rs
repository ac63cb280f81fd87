//! `mizan watch`: a snapshot of each service, then every change. A registry that goes away is
//! watched again.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use mizan_contracts::registry::v1::{WatchInstancesRequest, WatchInstancesResponse};
use tonic::Code;

use super::{Common, LookError, Which, again, client, exit, show};
use crate::terminal::{escaped, inert, say, try_print};

/// Before watching again: a registry that ends every watch at once is not stormed.
const PAUSE: Duration = Duration::from_millis(250);

/// Shows the instances of services, and then every change, until interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// The services' names, such as payment; none for all.
    #[arg(value_name = "NAME")]
    services: Vec<String>,

    /// Only those that are passing, which is what clients see.
    #[arg(long)]
    passing: bool,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    common: Common,
}

/// What was shown last, by service.
type Known = BTreeMap<String, Vec<show::Instance>>;

/// Runs `mizan watch`, which ends with its process.
pub(crate) async fn watch(args: WatchArgs) -> ExitCode {
    exit(follow(&args).await)
}

async fn follow(args: &WatchArgs) -> Result<(), LookError> {
    let mut known = Known::new();
    let mut registry = client(&args.common).await?;
    loop {
        let request = WatchInstancesRequest {
            services: args.services.clone(),
            all_services: args.services.is_empty(),
            include_unhealthy: !args.passing,
            filter: Some(args.which.filter()),
            ..WatchInstancesRequest::default()
        };
        match registry.watch_instances(request).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                while let Ok(Some(snapshot)) = stream.message().await {
                    tell(args, snapshot, &mut known)?;
                }
                say("the registry ended the watch; watching again");
            }
            // It went away again before it heard what to watch.
            Err(status) if status.code() == Code::Unavailable => {}
            Err(status) => return Err(status.into()),
        }
        registry = again(&args.common, PAUSE).await;
    }
}

fn tell(
    args: &WatchArgs,
    snapshot: WatchInstancesResponse,
    known: &mut Known,
) -> Result<(), LookError> {
    let WatchInstancesResponse {
        service,
        instances,
        revision,
        ..
    } = snapshot;
    let listing = show::Listing::new(service, revision, instances);
    let service = listing.service.clone();
    // Of several, each says which it is.
    let several = args.services.len() != 1;
    let head = |text: String| match several && !text.is_empty() {
        true => format!("{}\n{text}", inert(&service)),
        false => text,
    };
    let text = match known.get(&service) {
        Some(before) if *before == listing.instances => String::new(),
        _ if args.common.json => escaped(&format!("{}\n", serde_json::to_string(&listing)?)),
        Some(before) => {
            let lines = show::changes(before, &listing.instances).into_iter();
            head(lines.map(|line| line + "\n").collect())
        }
        None => head(show::instances(&listing)),
    };
    known.insert(service, listing.instances);
    Ok(try_print(&text)?)
}
