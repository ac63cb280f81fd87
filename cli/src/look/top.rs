//! `mizan top`: all services, live.

use std::{io::IsTerminal as _, process::ExitCode, time::Duration};

use tokio::time::sleep;

use super::{Common, LookError, again, client, exit, list_all, show};
use crate::terminal::{say, try_print};

/// How often the screen is drawn anew.
const PERIOD: Duration = Duration::from_secs(1);

/// The top left corner. Lines are written over the ones before, so that nothing flickers.
const HOME: &str = "\x1b[H";

/// Clears to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";

/// Clears what is below.
const CLEAR_BELOW: &str = "\x1b[J";

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
    let mut registry = client(common).await?;
    loop {
        let text = match list_all(&mut registry).await {
            Ok(services) if common.json => format!("{}\n", serde_json::to_string(&services)?),
            Ok(services) => page(&services),
            Err(error) => {
                say(&format!("mizan: {}", mizan::process::chain(&error)));
                registry = again(common, PERIOD).await;
                continue;
            }
        };
        try_print(&if live { screen(&text) } else { text })?;
        sleep(PERIOD).await;
    }
}

/// A summary in a line, and the table.
fn page(services: &[show::Service]) -> String {
    format!("{}\n\n{}", show::total(services), show::services(services))
}

/// The text, written over what the screen shows.
fn screen(text: &str) -> String {
    let text = text.replace('\n', &format!("{CLEAR_LINE}\n"));
    format!("{HOME}{text}{CLEAR_BELOW}")
}

#[cfg(test)]
mod tests {
    use super::screen;

    #[test]
    fn a_screen_leaves_nothing_of_the_one_before() {
        assert_eq!(screen("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
