//! `mizan up` with its real processes: started, looked at, paid through, killed, drained.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// Far more than anything here takes: a test that hangs fails.
const LIMIT: Duration = Duration::from_secs(60);

/// A running `mizan up` and its lines.
struct Up {
    process: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    registry: String,
    /// Name, address and pid of each process.
    table: Vec<[String; 3]>,
    _data: tempfile::TempDir,
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            if to.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The next line of which this is true.
fn wait_for(lines: &Receiver<String>, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        let line = lines.recv_timeout(LIMIT).unwrap();
        if wanted(&line) {
            return line;
        }
    }
}

impl Up {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_mizan"))
            .args([
                "up",
                "--ephemeral-ports",
                "--registry-listen",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(process.stdout.take().unwrap());
        let stderr = lines(process.stderr.take().unwrap());
        wait_for(&stdout, |line| line.starts_with("PROCESS"));
        let table: Vec<[String; 3]> = (0..9)
            .map(|_| {
                let line = stdout.recv_timeout(LIMIT).unwrap();
                let cells: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                cells.try_into().unwrap()
            })
            .collect();
        let registry = table[0][1].clone();
        Self {
            process,
            stdout,
            stderr,
            registry,
            table,
            _data: data,
        }
    }

    fn mizan(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mizan"))
            .args(args)
            .args(["--registry", &self.registry])
            .output()
            .unwrap()
    }

    fn replay(&self, files: &[&str]) -> (Option<i32>, Value) {
        let output = self.mizan(&[&["replay", "--json"], files].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).map_err(|e| format!("{e}: {text}"));
        (output.status.code(), report.unwrap())
    }

    fn pid(&self, name: &str) -> Pid {
        let line = self.table.iter().find(|line| line[0] == name).unwrap();
        Pid::from_raw(line[2].parse().unwrap()).unwrap()
    }

    /// Asks it to stop; gives its exit code once it did.
    fn stop(mut self) -> (Option<i32>, Vec<[String; 3]>) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).unwrap();
        // Its pipes close when it and all its children are gone.
        while self.stderr.recv_timeout(LIMIT).is_ok() {}
        while self.stdout.recv_timeout(LIMIT).is_ok() {}
        let code = self.process.wait().unwrap().code();
        (code, std::mem::take(&mut self.table))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // After a failed assertion: the children follow, since their standard input closes.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const QUARTERS: [&str; 3] = [
    "tests/data/quarter-of-2016.csv",
    "tests/data/quarter-with-a-slip.csv",
    "tests/data/quarter-of-2018.csv",
];

#[test]
fn payments_are_paid_once_and_the_whole_drains() {
    let up = Up::start();

    let services = up.mizan(&["services"]);
    let table = String::from_utf8(services.stdout).unwrap();
    assert!(table.contains("payment     2        2\n"), "{table}");
    let instances = up.mizan(&["instances", "zakat", "--json"]);
    let listing: Value = serde_json::from_slice(&instances.stdout).unwrap();
    assert_eq!(listing["instances"][1]["instance_id"], "zakat-2");
    assert_eq!(listing["instances"][1]["status"], "passing");

    let (code, first) = up.replay(&QUARTERS);
    assert_eq!(code, Some(3), "{first:#}");
    assert_eq!(first["rows"], 10);
    assert_eq!(first["paid"], 9);
    assert_eq!(first["refunds"], 3);
    assert_eq!(first["totals"][0]["amount"], "5861.74");
    assert_eq!(first["refused_rows"][0]["line"], 9);
    let reason = "has no transaction number (a total)";
    assert_eq!(first["refused_rows"][0]["reason"], reason);
    let books = &first["trial_balance"];
    assert_eq!(books["transactions"], 9);
    assert_eq!(books["totals"][0]["difference"], "0.00");

    let (code, second) = up.replay(&QUARTERS);
    assert_eq!(code, Some(3));
    assert_eq!(
        (&second["paid"], &second["already_paid"]),
        (&0.into(), &9.into())
    );
    assert_eq!(second["totals"], first["totals"]);
    assert_eq!(second["trial_balance"], first["trial_balance"]);

    let (code, third) = up.replay(&[QUARTERS[0], "tests/data/untidy.csv"]);
    assert_eq!(code, Some(3));
    assert_eq!(
        (&third["paid"], &third["already_paid"]),
        (&1.into(), &3.into())
    );
    assert_eq!(third["duplicate_rows"][0]["first_line"], 2);
    assert_eq!(third["duplicate_rows"][1]["same_amount"], false);
    assert_eq!(third["refused"], 4, "{third:#}");

    let (code, table) = up.stop();
    assert_eq!(code, Some(0));
    for [name, _, pid] in table {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        assert!(test_kill_process(pid).is_err(), "{name} is still there");
    }
}

#[test]
fn a_killed_process_is_started_again_and_nothing_is_lost() {
    let up = Up::start();
    kill_process(up.pid("payment-1"), Signal::KILL).unwrap();
    kill_process(up.pid("invoice-2"), Signal::KILL).unwrap();
    wait_for(&up.stderr, |line| {
        line.contains("payment-1 died (signal: 9")
    });
    let (code, report) = up.replay(&QUARTERS[..2]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["paid"], 6);

    // The watch tells when the new one is passing.
    let mut watch = Command::new(env!("CARGO_BIN_EXE_mizan"))
        .args([
            "watch",
            "payment",
            "--passing",
            "--json",
            "--registry",
            &up.registry,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let changes = lines(watch.stdout.take().unwrap());
    wait_for(&changes, |line| {
        let listing: Value = serde_json::from_str(line).unwrap();
        listing["instances"].as_array().unwrap().len() == 2
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(up.stop().0, Some(0));
}

#[test]
fn children_do_not_outlive_a_supervisor_that_is_killed() {
    let mut up = Up::start();
    up.process.kill().unwrap();
    // Standard error is the supervisor's alone; the children's ends are pipes to it. What tells
    // that they are gone is that nothing answers at the registry's address any more.
    up.process.wait().unwrap();
    let began = std::time::Instant::now();
    while std::net::TcpStream::connect(&up.registry).is_ok() {
        assert!(began.elapsed() < LIMIT, "the registry lives on");
        std::thread::yield_now();
    }
}
