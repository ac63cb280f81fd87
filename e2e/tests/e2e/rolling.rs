//! A rolling replacement under load: no caller notices.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ::mizan::Channel;
use e2e::{Lines, Pid, Signal, kill_process, mizan};
use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{CalculateRequest, zakat_service_client::ZakatServiceClient},
};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::books::until;

/// A process of ours that says where it listens.
struct Serving {
    process: Option<Child>,
    address: String,
    lines: Lines,
}

impl Serving {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(mizan())
            .args(args)
            .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::of(process.stderr.take().unwrap());
        let serving = lines.wait_for(|line| line.contains("\"serving\""));
        let serving: Value = serde_json::from_str(&serving).unwrap();
        Self {
            process: Some(process),
            address: serving["address"].as_str().unwrap().to_owned(),
            lines,
        }
    }

    /// Drains and ends, with success.
    async fn end(mut self) {
        let mut process = self.process.take().unwrap();
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        let ended = tokio::task::spawn_blocking(move || process.wait().unwrap());
        assert!(ended.await.unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// How many call at once. Each waits for its answer, so that a machine which cannot keep up gets
/// fewer calls and not a queue that outlasts every deadline: the claim is about replacing, not
/// about overload.
const CALLERS: u32 = 10;

/// What the callers saw.
#[derive(Default)]
struct Seen {
    made: AtomicU32,
    failed: Mutex<Vec<String>>,
}

/// At most a thousand calls a second by all callers together, until told to stop.
async fn call_steadily(channel: Channel, enough: Arc<AtomicBool>, seen: Arc<Seen>) {
    let money = |units| {
        Some(Money {
            currency_code: "USD".to_owned(),
            units,
            nanos: 0,
        })
    };
    let mut client = ZakatServiceClient::new(channel);
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !enough.load(Ordering::SeqCst) {
        ticks.tick().await;
        let request = CalculateRequest {
            wealth: money(100_000),
            nisab: money(85_000),
            ..CalculateRequest::default()
        };
        seen.made.fetch_add(1, Ordering::SeqCst);
        if let Err(status) = client.calculate(request).await {
            seen.failed.lock().unwrap().push(format!("{status:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_all_three_instances_under_load_fails_no_call() {
    let data = tempfile::tempdir().unwrap();
    let registry = Serving::start(&["registry", "--data", data.path().to_str().unwrap()]);
    let start = || Serving::start(&["zakat", "--registry", &registry.address]);
    let old = [start(), start(), start()];
    let channel = Channel::builder("zakat").registry(vec![registry.address.clone()]);
    let channel = channel.connect().unwrap();
    let ready = |number| {
        let channel = &channel;
        until(move || async move { channel.stats().ready() == number })
    };
    ready(3).await;
    let (enough, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call_steadily(channel.clone(), enough.clone(), seen.clone()));
    }

    let mut new = Vec::new();
    for instance in old {
        new.push(start());
        ready(4).await;
        let before = channel.stats().attempts;
        instance.end().await;
        ready(3).await;
        // The new set carries some load before the next is replaced.
        until(|| async { channel.stats().attempts > before + 300 }).await;
    }

    enough.store(true, Ordering::SeqCst);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let (made, failed) = (
        seen.made.load(Ordering::SeqCst),
        seen.failed.lock().unwrap(),
    );
    assert!(
        failed.is_empty(),
        "{} of {made}, the first: {:#?}; {:#?}",
        failed.len(),
        failed.first(),
        channel.stats()
    );
    assert!(made > 900, "{made} calls are no load");
}

#[test]
fn who_asks_twice_to_stop_does_not_wait_for_the_drain() {
    for signal in [Signal::TERM, Signal::INT] {
        let data = tempfile::tempdir().unwrap();
        let mut registry = Serving::start(&["registry", "--data", data.path().to_str().unwrap()]);
        // A request that does not end holds the drain up; the answer says that it is being read.
        let mut stream = TcpStream::connect(&registry.address).unwrap();
        let head = "PUT /v1/agent/service/register HTTP/1.1\r\nhost: localhost\r\n\
                    content-length: 5000\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut reading = [0; 12];
        stream.read_exact(&mut reading).unwrap();
        assert_eq!(&reading, b"HTTP/1.1 100");
        let mut process = registry.process.take().unwrap();
        let pid = Pid::from_child(&process);
        // Together they are one request, as `timeout` makes it.
        kill_process(pid, Signal::INT).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        registry
            .lines
            .wait_for(|line| line.contains("\"draining\""));
        // The request still holds it up: nobody asked twice.
        let again = Instant::now() + Duration::from_millis(200);
        while Instant::now() < again {
            assert_eq!(process.try_wait().unwrap(), None);
            thread::park_timeout(Duration::from_millis(10));
        }
        kill_process(pid, signal).unwrap();
        let code = process.wait().unwrap().code();
        assert_eq!(code, Some(128 + signal.as_raw()));
        registry.lines.wait_for(|line| line.contains("once more"));
    }
}
