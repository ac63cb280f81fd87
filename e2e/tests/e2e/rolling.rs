//! A rolling replacement under load: no caller notices.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use ::mizan::Channel;
use e2e::{Lines, Pid, Signal, kill_process, mizan};
use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{CalculateRequest, zakat_service_client::ZakatServiceClient},
};
use serde_json::Value;
use tokio::time::interval;

use crate::books::until;

/// A process of ours that says where it listens.
struct Serving {
    process: Option<Child>,
    address: String,
    /// Read to the end, or the process would wait for a reader.
    _lines: Lines,
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
            _lines: lines,
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

/// About a thousand calls a second, until told to stop. Answers how many there were.
async fn load(channel: Channel, enough: Arc<AtomicBool>, failed: Arc<AtomicU32>) -> u32 {
    let mut calls = Vec::new();
    let mut ticks = interval(Duration::from_millis(10));
    while !enough.load(Ordering::SeqCst) {
        ticks.tick().await;
        for _ in 0..10 {
            let mut client = ZakatServiceClient::new(channel.clone());
            let failed = failed.clone();
            calls.push(tokio::spawn(async move {
                let money = |units| {
                    Some(Money {
                        currency_code: "USD".to_owned(),
                        units,
                        nanos: 0,
                    })
                };
                let request = CalculateRequest {
                    wealth: money(100_000),
                    nisab: money(85_000),
                    ..CalculateRequest::default()
                };
                if client.calculate(request).await.is_err() {
                    failed.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
    }
    let made = u32::try_from(calls.len()).unwrap();
    for call in calls {
        call.await.unwrap();
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_all_three_instances_under_a_thousand_calls_a_second_fails_none() {
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
    let (enough, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let load = tokio::spawn(load(channel.clone(), enough.clone(), failed.clone()));

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
    let made = load.await.unwrap();
    assert_eq!(
        failed.load(Ordering::SeqCst),
        0,
        "of {made}: {:#?}",
        channel.stats()
    );
    assert!(made > 900, "{made} calls are no load");
}
