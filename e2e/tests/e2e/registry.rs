//! The registry as a process that is killed.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use e2e::{Lines, mizan};
use serde_json::{Value, json};

/// Far longer than an answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Registry {
    process: Child,
    address: String,
    _stderr: Lines,
}

impl Registry {
    fn start(data: &Path) -> Self {
        Self::run(Command::new(mizan()), data)
    }

    fn run(mut mizan: Command, data: &Path) -> Self {
        let mut process = mizan
            .args([
                "registry",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Lines::of(process.stderr.take().unwrap());
        let line = stderr.wait_for(|line| line.contains("\"serving\""));
        let line: Value = serde_json::from_str(&line).unwrap();
        Self {
            process,
            address: line["address"].as_str().unwrap().to_owned(),
            _stderr: stderr,
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The answer to one request, whole; nothing when the registry is gone.
fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Registers one after the other until the registry is gone; answers what was acknowledged.
fn register_on(address: &str, caller: usize, told: impl Fn(usize)) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let id = format!("{caller}-{number}");
        let body = json!({"Name": "kept", "ID": id, "Port": 80, "Check": {"TTL": "1h"}});
        let path = "/v1/agent/service/register";
        if ask(address, "PUT", path, &body.to_string()).is_none() {
            break;
        }
        acknowledged.push(id);
        told(number);
    }
    acknowledged
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(data.path());
    let address = registry.address.clone();
    let (tell, heard) = std::sync::mpsc::channel();
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (address, tell) = (address.clone(), tell.clone());
            // Nobody listens any more once there are enough.
            let told = move |number| tell.send(number).unwrap_or_default();
            thread::spawn(move || register_on(&address, caller, told))
        })
        .collect();
    // In the middle of it, whoever is how far.
    heard.iter().take(100).for_each(drop);
    registry.kill();
    let acknowledged: Vec<_> = callers
        .into_iter()
        .flat_map(|caller| caller.join().unwrap())
        .collect();
    assert!(acknowledged.len() >= 100);

    let registry = Registry::start(data.path());
    let read = |path: &str| -> Value {
        let answer = ask(&registry.address, "GET", path, "").unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    };
    let services = read("/v1/agent/services");
    let given_out = read("/v1/health/service/kept");
    let given_out: Vec<_> = given_out.as_array().unwrap().iter().collect();
    for id in acknowledged {
        assert_eq!(services[&id]["Service"], "kept", "{id} is gone");
        let same = |entry: &&&Value| entry["Service"]["ID"] == *id;
        assert!(
            given_out.iter().any(|entry| same(&entry)),
            "{id} is not given out"
        );
    }
}

#[test]
fn a_low_limit_of_open_files_is_raised() {
    let data = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    let script = "ulimit -Sn 64 && exec \"$0\" \"$@\"";
    limited.args(["-c", script]).arg(mizan());
    let registry = Registry::run(limited, data.path());
    let connect = |_| TcpStream::connect(&registry.address).unwrap();
    let held: Vec<_> = (0..100).map(connect).collect();
    assert!(ask(&registry.address, "GET", "/v1/status/leader", "").is_some());
    drop(held);
}

/// Asks until it is answered well.
fn until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to that");
        thread::yield_now();
    }
}

#[test]
fn more_idle_clients_than_it_has_files_keep_nobody_out() {
    let data = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""]);
    limited.arg(mizan());
    let registry = Registry::run(limited, data.path());
    // What it turned away is closed at our end, too.
    let held: Vec<_> = (0..600)
        .filter_map(|_| TcpStream::connect(&registry.address).ok())
        .collect();
    for number in 0..20 {
        let body = json!({"Name": "kept", "ID": format!("{number}"), "Port": 80}).to_string();
        let path = "/v1/agent/service/register";
        until(|| ask(&registry.address, "PUT", path, &body).is_some());
    }
    drop(held);
    // It opens files of its own all the while: its store took them all.
    let services = ask(&registry.address, "GET", "/v1/agent/services", "").unwrap();
    for number in 0..20 {
        assert!(
            services.contains(&format!("\"ID\":\"{number}\"")),
            "{services}"
        );
    }
}

/// A small disk of its own, taken away again.
struct Disk(tempfile::TempDir);

impl Disk {
    /// None where this may not be done: only root may.
    fn of(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "mizan-test"]);
        let mounted = mount.arg(folder.path()).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is open there goes with it.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_refuses_and_is_forgotten_once_there_is_room() {
    let Some(disk) = Disk::of("2m") else {
        println!("SKIPPED: a disk that is full can be had by root alone");
        return;
    };
    let data = disk.0.path().join("data");
    let registry = Registry::start(&data);
    let register = |id: &str| {
        // Large, so that one page more is needed.
        let words: String = "x".repeat(500);
        let meta: serde_json::Map<_, _> = (0..40)
            .map(|key| (format!("k{key}"), json!(words)))
            .collect();
        let body = json!({"Name": "kept", "ID": id, "Port": 80, "Meta": meta});
        let path = "/v1/agent/service/register";
        ask(&registry.address, "PUT", path, &body.to_string()).is_some()
    };
    let page = |path: &str| ask(&registry.address, "GET", path, "");
    assert!(register("before"));
    let ballast = disk.0.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    drop(file);
    // What still fits into a file that is there is taken.
    let mut taken = vec!["before".to_owned()];
    let refused = (0..1_000)
        .map(|number| format!("during-{number}"))
        .find(|id| {
            let well = register(id);
            if well {
                taken.push(id.clone());
            }
            !well
        });
    let refused = refused.expect("the disk is full");
    let health = page("/health").unwrap();
    assert!(
        health.contains("degraded") && health.contains("cannot be written"),
        "{health}"
    );
    let metrics = page("/metrics").unwrap();
    let failures = metrics
        .lines()
        .find_map(|line| line.strip_prefix("mizan_registry_store_failures_total "));
    assert!(failures.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    let known = || page("/v1/agent/services").unwrap();
    assert!(
        !known().contains(&refused),
        "what was refused does not appear"
    );
    std::fs::remove_file(&ballast).unwrap();
    until(|| page("/health").is_some_and(|health| health.contains("\"healthy\"")));
    assert!(!known().contains(&refused), "nor later");
    assert!(register("after"));
    taken.push("after".to_owned());
    drop(registry);
    let registry = Registry::start(&data);
    let services = ask(&registry.address, "GET", "/v1/agent/services", "").unwrap();
    for id in &taken {
        assert!(services.contains(&format!("\"{id}\"")), "{id} is gone");
    }
    assert!(!services.contains(&refused));
}
