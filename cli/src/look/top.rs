//! `mizan top`: all services, live, the sick ones first.

use std::{io::IsTerminal as _, process::ExitCode, time::Duration};

use mizan::Connection;
use mizan_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{
    Common, LookError, again, client, exit, list_all,
    screen::{Screen, keys},
    show,
};
use crate::terminal::{Keys, escaped, fit, inert, say, size, try_print};

/// How often the screen is drawn anew.
const PERIOD: Duration = Duration::from_secs(1);

/// The top left corner. Lines are written over the ones before, so that nothing flickers.
const HOME: &str = "\x1b[H";

/// Clears to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";

/// Clears what is below.
const CLEAR_BELOW: &str = "\x1b[J";

/// Shows all services, live, the sick ones first, until `q`. Arrows scroll, `/` filters.
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
    let registry = client(common).await?;
    if std::io::stdout().is_terminal() && !common.json {
        return live(common, registry).await;
    }
    lines(common, registry).await
}

/// One page a second, for whoever reads it elsewhere than on a terminal.
async fn lines(
    common: &Common,
    mut registry: RegistryServiceClient<Connection>,
) -> Result<(), LookError> {
    loop {
        let text = match list_all(&mut registry).await {
            Ok(services) if common.json => {
                escaped(&format!("{}\n", serde_json::to_string(&services)?))
            }
            Ok(mut services) => {
                show::sick_first(&mut services);
                page(&services)
            }
            Err(error) => {
                say(&format!("mizan: {}", mizan::process::chain(&error)));
                registry = again(common, PERIOD).await;
                continue;
            }
        };
        try_print(&text)?;
        sleep(PERIOD).await;
    }
}

/// On a terminal: as much as fits, until somebody quits.
async fn live(
    common: &Common,
    mut registry: RegistryServiceClient<Connection>,
) -> Result<(), LookError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let terminal = Keys::begin();
    let mut typed = terminal.read();
    let mut screen = Screen::default();
    loop {
        let trouble = match list_all(&mut registry).await {
            Ok(services) => {
                screen.set(services);
                None
            }
            Err(error) => {
                let told = format!("mizan: {}", mizan::process::chain(&error));
                // Whoever is there by the next look is asked then.
                if let Ok(connection) = common.registry.connect_within(Duration::ZERO).await {
                    registry = RegistryServiceClient::new(connection);
                }
                Some(inert(&told))
            }
        };
        let next = sleep(PERIOD);
        tokio::pin!(next);
        loop {
            let (rows, columns) = size();
            screen.resize(rows, columns);
            let told = trouble.as_deref().map(|told| fit(told, columns));
            try_print(&drawn(&screen.lines(), told.as_deref()))?;
            tokio::select! {
                () = &mut next => break,
                Some(bytes) = typed.recv() => {
                    if !keys(&bytes).into_iter().all(|key| screen.press(key)) {
                        return Ok(());
                    }
                }
                _ = terminate.recv() => return Ok(()),
            }
        }
    }
}

/// A summary in a line, and the table.
fn page(services: &[show::Service]) -> String {
    format!("{}\n\n{}", show::total(services), show::services(services))
}

/// The lines, written over what the screen shows; what is wrong stands in the place of the keys.
fn drawn(lines: &[String], trouble: Option<&str>) -> String {
    let mut text = HOME.to_owned();
    for (place, line) in lines.iter().enumerate() {
        let line = match trouble {
            Some(trouble) if place == 1 => trouble,
            _ => line,
        };
        // No line end behind the last: it would scroll a full screen.
        let end = if place + 1 == lines.len() { "" } else { "\r\n" };
        text.push_str(line);
        text.push_str(CLEAR_LINE);
        text.push_str(end);
    }
    text.push_str(CLEAR_BELOW);
    text
}

#[cfg(test)]
mod tests {
    use super::drawn;

    #[test]
    fn a_screen_leaves_nothing_of_the_one_before_and_does_not_scroll() {
        let lines = ["a", "keys", "b"].map(str::to_owned);
        let expected = "\x1b[Ha\x1b[K\r\nkeys\x1b[K\r\nb\x1b[K\x1b[J";
        assert_eq!(drawn(&lines, None), expected);
        assert!(
            drawn(&lines, Some("the registry is away")).contains("\nthe registry is away\x1b[K")
        );
    }
}
