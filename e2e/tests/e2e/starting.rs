//! Servers that cannot start, and servers whose registry is away.

use std::{
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use e2e::{Lines, mizan};

const SERVERS: [&str; 5] = ["registry", "zakat", "invoice", "accounting", "payment"];

fn run(args: &[&str]) -> Output {
    Command::new(mizan())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn one_line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for server in SERVERS {
        let line = one_line(&run(&[server, "--listen", &address]));
        assert!(
            line.contains(server) && line.contains(&address) && line.contains("in use"),
            "{line}"
        );
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let below = file.join("below");
    let below = below.to_str().unwrap();
    for server in ["invoice", "accounting", "payment"] {
        let line = one_line(&run(&[server, "--listen", "127.0.0.1:0", "--data", below]));
        assert!(line.contains(server) && line.contains(below), "{line}");
    }
}

#[test]
fn a_registry_that_is_away_is_retried_and_that_is_said() {
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut server = Command::new(mizan())
        .args([
            "zakat",
            "--listen",
            "127.0.0.1:0",
            "--registry",
            &nowhere,
            "--stop-with-stdin",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = Lines::of(server.stderr.take().unwrap());
    let line = lines.wait_for(|line| line.contains("registry unreachable, retrying"));
    assert!(line.contains(&nowhere), "{line}");
    // It serves all the same, and ends in order.
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_command_without_a_registry_says_which_it_looked_for() {
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let output = run(&["services", "--registry", &nowhere]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&nowhere), "{text}");
}
