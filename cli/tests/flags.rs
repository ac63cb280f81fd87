//! Each flag of what runs for long: its environment variable and what it is when nobody says. They are
//! an interface: a script that sets one must not find it gone, or meaning nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write as _, process::Command};

/// Of a command's help, one line for each flag: `--flag VARIABLE default`.
fn flags(command: &str) -> String {
    let mut help = Command::new(env!("CARGO_BIN_EXE_mizan"));
    help.args([command, "--help"]).env_clear();
    let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
    let mut lines = String::new();
    // A flag begins with two dashes, after at most a short one.
    let mut found: Option<(String, String, String)> = None;
    let end = "      --end".lines();
    for line in help.lines().chain(end) {
        let word = line
            .trim_start()
            .trim_start_matches("-h, ")
            .trim_start_matches("-V, ");
        if let Some(flag) = word.strip_prefix("--") {
            if let Some((flag, variable, default)) = found.take()
                && !variable.is_empty()
            {
                writeln!(lines, "--{flag} {variable} {default}").unwrap();
            }
            let flag = flag.split([' ', '=']).next().unwrap().to_owned();
            found = Some((flag, String::new(), String::new()));
        }
        let told = |name: &str| {
            let after = line.split_once(&format!("[{name}: "))?.1;
            let end = after.find(']').unwrap_or(after.len());
            Some(after[..end].trim_end_matches('=').to_owned())
        };
        if let Some((_, variable, default)) = &mut found {
            if let Some(told) = told("env") {
                *variable = told;
            }
            if let Some(told) = told("default") {
                *default = told;
            }
        }
    }
    lines
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[test]
fn every_flag_has_its_variable_and_its_default() {
    let mut missing = String::new();
    for expected in include_str!("data/flags.txt").split("\n\n") {
        let (command, expected) = expected.split_once('\n').unwrap();
        let found = flags(command);
        // Flags that are new are welcome.
        let lost = expected
            .lines()
            .filter(|flag| !found.lines().any(|line| line == *flag));
        missing.extend(lost.map(|flag| format!("{command} {flag}\n")));
    }
    assert!(missing.is_empty(), "no longer so:\n{missing}");
}
