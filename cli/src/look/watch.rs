//! `mizan watch`: a snapshot, then every change. A registry that goes away is watched again.

use std::{process::ExitCode, time::Duration};

use mizan_contracts::registry::v1::{WatchInstancesRequest, WatchInstancesResponse};

use tokio::time::sleep;

use super::{LookError, WatchArgs, client, exit, show};
use crate::terminal::{say, try_print};

/// Before watching again: a registry that ends every watch at once is not stormed.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs `mizan watch`, which ends with its process.
pub(crate) async fn watch(args: WatchArgs) -> ExitCode {
    exit(follow(&args).await)
}

async fn follow(args: &WatchArgs) -> Result<(), LookError> {
    let args = &args.instances;
    let mut known: Option<Vec<show::Instance>> = None;
    loop {
        let request = WatchInstancesRequest {
            services: vec![args.service.clone()],
            include_unhealthy: !args.passing,
            ..WatchInstancesRequest::default()
        };
        let mut client = client(&args.common).await?;
        let mut stream = client.watch_instances(request).await?.into_inner();
        while let Ok(Some(snapshot)) = stream.message().await {
            tell(args.common.json, snapshot, &mut known)?;
        }
        say("the registry ended the watch; watching again");
        sleep(PAUSE).await;
    }
}

fn tell(
    json: bool,
    snapshot: WatchInstancesResponse,
    known: &mut Option<Vec<show::Instance>>,
) -> Result<(), LookError> {
    let WatchInstancesResponse {
        service,
        instances,
        revision,
        ..
    } = snapshot;
    let listing = show::Listing::new(service, revision, instances);
    let text = match known {
        Some(before) if *before == listing.instances => String::new(),
        _ if json => format!("{}\n", serde_json::to_string(&listing)?),
        Some(before) => show::changes(before, &listing.instances)
            .into_iter()
            .map(|line| line + "\n")
            .collect(),
        None => show::instances(&listing.instances),
    };
    *known = Some(listing.instances);
    Ok(try_print(&text)?)
}
