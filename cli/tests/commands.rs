//! The command line, without a running Mizan.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    net::TcpListener,
    process::{Command, Output},
};

fn mizan(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mizan"));
    command.args(args).env_remove("MIZAN_REGISTRY");
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_version_and_the_help_are_told() {
    let version = mizan(&["--version"]);
    let text = String::from_utf8(version.stdout).unwrap();
    assert_eq!(text, concat!("mizan ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = String::from_utf8(mizan(&["--help"]).stdout).unwrap();
    for command in [
        "up",
        "replay",
        "backup",
        "restore",
        "payments",
        "services",
        "instances",
        "watch",
        "registry",
        "zakat",
        "invoice",
        "accounting",
        "payment",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
        assert!(mizan(&[command, "--help"]).status.success(), "{command}");
    }
}

#[test]
fn files_that_cannot_be_paid_are_one_line_each_and_need_no_registry() {
    let output = mizan(&[
        "replay",
        "tests/data/no-payments.csv",
        "tests/data/gone.csv",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let lines = stderr(&output);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("gone.csv"), "{lines:?}");
    assert!(
        lines[1].contains("no-payments.csv: no header found"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("Trans No") && lines[1].contains("Amount"),
        "{lines:?}"
    );
}

#[test]
fn a_currency_that_does_not_exist_is_refused() {
    let output = mizan(&["replay", "--currency", "ZZZ", "tests/data/untidy.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("ISO 4217"));
}

#[test]
fn up_says_in_one_line_why_it_cannot_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let state = data.path().to_str().unwrap();
    let output = mizan(&["up", "--registry-listen", &address, "--data", state]);
    assert_eq!(output.status.code(), Some(1));
    let line = stderr(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(&address) && line.contains("in use"), "{line}");

    let file = data.path().join("file");
    std::fs::write(&file, "").unwrap();
    let state = file.join("below").display().to_string();
    let output = mizan(&["up", "--registry-listen", "127.0.0.1:0", "--data", &state]);
    assert_eq!(output.status.code(), Some(1));
    let line = stderr(&output);
    assert!(line.contains("cannot use the data directory"), "{line}");
}

#[tokio::test]
async fn a_service_listens_on_a_unix_socket_that_is_its_users_alone_and_leaves_no_file() {
    use std::os::unix::fs::PermissionsExt as _;

    use mizan_contracts::zakat::v1::{
        ListPoliciesRequest, zakat_service_client::ZakatServiceClient,
    };

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zakat.sock");
    let place = format!("unix:{}", path.display());
    let mut serving = Command::new(env!("CARGO_BIN_EXE_mizan"))
        .args(["zakat", "--listen", &place, "--stop-with-stdin"])
        .args(["--log-format", "json"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let channel = mizan::Channel::builder("zakat").fixed(vec![place]);
    let channel = channel
        .wait_for_ready(true)
        .deadline(std::time::Duration::from_secs(60))
        .connect()
        .unwrap();
    let mut zakat = ZakatServiceClient::new(channel);
    let answer = zakat.list_policies(ListPoliciesRequest::default()).await;
    assert!(!answer.unwrap().into_inner().policies.is_empty());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(serving.stdin.take());
    assert!(serving.wait().unwrap().success());
    assert!(!path.exists(), "the file is left behind");

    let refused = mizan(&["zakat", "--listen", "localhost"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("nor unix:PATH"),
        "{}",
        stderr(&refused)
    );
}
