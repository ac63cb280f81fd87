//! What `mizan up` says once all is passing: what runs where, and what to try.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{board::Board, plan::Member};
use crate::terminal::table;

/// How this command was called, for the commands that people are told to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Invocation {
    /// By `cargo run`.
    Cargo { release: bool },
    /// By its name, found in the PATH.
    Name(String),
    /// By its path.
    Path(PathBuf),
}

impl Invocation {
    /// How this process was called.
    pub(super) fn current(program: &Path) -> Self {
        // Cargo tells the programs that it runs who it is.
        if env::var_os("CARGO").is_some() {
            let release = !cfg!(debug_assertions);
            return Self::Cargo { release };
        }
        let called = env::args().next().unwrap_or_default();
        if !called.is_empty() && !called.contains('/') {
            return Self::Name(called);
        }
        let here = env::current_dir().unwrap_or_default();
        let path = program.strip_prefix(&here).map(|p| Path::new(".").join(p));
        Self::Path(path.unwrap_or_else(|_| program.to_owned()))
    }

    fn command(&self) -> String {
        match self {
            Self::Cargo { release: true } => "cargo run --release -p mizan-cli --".to_owned(),
            Self::Cargo { release: false } => "cargo run -p mizan-cli --".to_owned(),
            Self::Name(name) => name.clone(),
            Self::Path(path) => path.display().to_string(),
        }
    }
}

/// The table and the commands. `registry` is named in them unless it is the default one.
pub(super) fn text(
    members: &[Member],
    board: &Board,
    addresses: &BTreeMap<String, String>,
    took: Duration,
    invocation: &Invocation,
    registry: Option<&str>,
) -> String {
    let mut lines = vec![["PROCESS", "ADDRESS", "PID"].map(str::to_owned)];
    for member in members {
        let pid = board.pid(&member.name).map(|pid| pid.to_string());
        let address = addresses.get(&member.name).cloned().unwrap_or_default();
        lines.push([member.name.clone(), address, pid.unwrap_or_default()]);
    }
    let (count, millis) = (members.len(), took.as_millis());
    let zakat = addresses.get("zakat-1").map_or("", String::as_str);
    let mizan = invocation.command();
    let flag = registry.map_or_else(String::new, |address| format!(" --registry {address}"));
    format!(
        "\nMizan is up: {count} processes, all passing after {millis} ms.\n\n{}\nTry:\n  \
         grpcurl -plaintext -d '{{\"wealth\":{{\"currency_code\":\"USD\",\"units\":100000}},\
         \"nisab\":{{\"currency_code\":\"USD\",\"units\":85000}}}}' {zakat} \
         mizan.zakat.v1.ZakatService/Calculate\n  \
         {mizan} replay FILE.csv{flag}\n  \
         {mizan} services{flag}\n\nCtrl-C drains in order; once more kills.\n\n",
        table(&lines),
    )
}

#[cfg(test)]
mod tests {
    use mizan::args::local;

    use super::{super::plan::members, *};

    #[test]
    fn every_process_has_its_line_and_every_command_works_as_printed() {
        let members = members(local(9000), true);
        let board = Board::default();
        board.started("zakat-1", 4242);
        let addresses = [("zakat-1".to_owned(), "127.0.0.1:40001".to_owned())].into();
        let text = text(
            &members,
            &board,
            &addresses,
            Duration::from_millis(640),
            &Invocation::Cargo { release: true },
            Some("127.0.0.1:9000"),
        );
        assert!(
            text.contains("9 processes, all passing after 640 ms"),
            "{text}"
        );
        assert!(
            text.contains("zakat-1       127.0.0.1:40001  4242\n"),
            "{text}"
        );
        assert!(text.contains("payment-2\n"), "{text}");
        let replay = "  cargo run --release -p mizan-cli -- replay FILE.csv \
                      --registry 127.0.0.1:9000\n";
        assert!(text.contains(replay), "{text}");
        assert!(text.contains("127.0.0.1:40001 mizan.zakat.v1.ZakatService/Calculate\n"));
    }

    #[test]
    fn an_installed_command_is_called_by_its_name() {
        assert_eq!(Invocation::Name("mizan".to_owned()).command(), "mizan");
        let path = Invocation::Path(PathBuf::from("./target/release/mizan"));
        assert_eq!(path.command(), "./target/release/mizan");
    }
}
