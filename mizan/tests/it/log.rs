//! What strangers can have a server write to its log.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use mizan::Connection;
use mizan_contracts::registry::v1::{
    ListServicesRequest, ListServicesResponse, registry_service_client::RegistryServiceClient,
};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_health::pb::HealthCheckRequest;
use tonic_prost::ProstCodec;
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::{fmt::MakeWriter, prelude::*};

use crate::{
    ends::hold_the_clock,
    support::{Running, Scripted},
};

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often each kind of failure is asked for.
const TIMES: usize = 200;

/// All that this thread logs, as by default.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn collect() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(lines.clone())
            .with_filter(LevelFilter::INFO);
        let guard = tracing_subscriber::registry().with(layer).set_default();
        (lines, guard)
    }

    fn with(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains(words));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_without_end_write_a_few_lines_and_ours_are_among_them() {
    let (_held, (lines, _guard)) = (hold_the_clock(), Lines::collect());
    let failing = Scripted::new(|_| async { Err(Status::data_loss("a page is damaged")) });
    let server = Running::start(&failing).await;
    let connection = Connection::open(&server.authority(), PATIENCE)
        .await
        .unwrap();
    let call = async |path: &'static str, timeout: Option<&str>| {
        let mut client = Grpc::new(connection.clone());
        client.ready().await.unwrap();
        // As a message it would be one of a field with 122 bytes, which do not come.
        let mut request = Request::new(HealthCheckRequest {
            service: "zzz".to_owned(),
        });
        if let Some(timeout) = timeout {
            let timeout = timeout.parse().unwrap();
            request.metadata_mut().insert("grpc-timeout", timeout);
        }
        let codec = ProstCodec::<HealthCheckRequest, ListServicesResponse>::default();
        let answer = client.unary(request, path.parse().unwrap(), codec).await;
        assert_eq!(answer.unwrap_err().code(), Code::Internal);
    };
    for _ in 0..TIMES {
        // Garbage to a service and to the server's own, a timeout that is none, and what is ours.
        call("/mizan.registry.v1.RegistryService/Register", None).await;
        call("/grpc.health.v1.Health/List", Some("soon")).await;
        let mut raw = RegistryServiceClient::new(connection.clone());
        let lost = raw.list_services(ListServicesRequest::default()).await;
        assert_eq!(lost.unwrap_err().code(), Code::DataLoss);
    }
    assert_eq!(lines.with("a request could not be read").len(), 1);
    let ours = lines.with("call failed");
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert!(ours[0].contains("ListServices") && ours[0].contains("DATA_LOSS"));
    // The next ones say how many there were.
    tokio::time::advance(Duration::from_secs(11)).await;
    call("/mizan.registry.v1.RegistryService/Register", None).await;
    let told = lines.with("a request could not be read");
    assert_eq!(told.len(), 2);
    assert!(
        told[1].contains(&format!("times={}", TIMES * 2)),
        "{told:?}"
    );
    server.stopped().await;
}
