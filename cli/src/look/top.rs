//! `mizan top`: all services, live.

use std::{io::IsTerminal as _, process::ExitCode, time::Duration};

use tokio::time::sleep;

use super::{Common, LookError, client, exit, list_all, show};
use crate::terminal::{say, try_print};

/// How often the screen is drawn anew.
const PERIOD: Duration = Duration::from_secs(1);

/// Clears the screen and goes to its top left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows all services, live, until interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    common: Common,
}

/// Runs `mizan top`, which ends with its process.
pub(crate) async fn top(args: TopArgs) -> ExitCode {
    exit(follow(&args.common).await)
}

async fn follow(common: &Common) -> Result<(), LookError> {
    let live = std::io::stdout().is_terminal() && !common.json;
    loop {
        let mut client = client(common).await?;
        loop {
            let services = match list_all(&mut client).await {
                Ok(services) => services,
                Err(error) => {
                    say(&format!("mizan: {}", mizan::process::chain(&error)));
                    break;
                }
            };
            let text = if common.json {
                format!("{}\n", serde_json::to_string(&services)?)
            } else {
                show::services(&services)
            };
            try_print(&if live { format!("{CLEAR}{text}") } else { text })?;
            sleep(PERIOD).await;
        }
        sleep(PERIOD).await;
    }
}
