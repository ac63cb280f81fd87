//! Where log lines go: standard error, JSON for machines, text for people.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::args::{LogFormat, ProcessArgs};

/// Starts logging for the whole process; a second call changes nothing. A filter that cannot be
/// read is refused.
pub(crate) fn init(args: &ProcessArgs) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&args.log)?;
    let terminal = io::stderr().is_terminal();
    let pretty = match args.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = if pretty {
        let lines = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(terminal)
            .with_target(false);
        registry.with(lines).try_init()
    } else {
        let lines = fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr);
        registry.with(lines).try_init()
    };
    // Tests start many servers in one process; the first one's logging stands.
    let _ = outcome;
    Ok(())
}
