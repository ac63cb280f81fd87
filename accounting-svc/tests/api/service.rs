//! A running instance, and what its refusals say.

use std::{path::Path, time::Duration};

use accounting_svc::Config;
use mizan::{Connection, args::ServerArgs, status};
use mizan_contracts::accounting::v1::accounting_service_client::AccountingServiceClient;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub(crate) type Client = AccountingServiceClient<Connection>;

/// An instance that serves a data directory until it is stopped.
pub(crate) struct Instance {
    pub(crate) client: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), accounting_svc::Error>>,
}

impl Instance {
    pub(crate) async fn start(data: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        // Tests that only need the client let go of the rest, and the instance serves on.
        let shutdown = async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let task = tokio::spawn(accounting_svc::serve(listener, config(data), shutdown));
        let connection = Connection::open(&address, Duration::from_secs(60)).await;
        Self {
            client: Client::new(connection.unwrap()),
            stop,
            task,
        }
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

pub(crate) fn config(data: &Path) -> Config {
    Config {
        data: data.to_owned(),
        database_url: None,
        server: ServerArgs::with_registry(Vec::new()),
    }
}

/// An instance with a data directory of its own.
pub(crate) async fn start() -> (TempDir, Client) {
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::start(data.path()).await;
    (data, instance.client)
}

/// What a refusal tells a program: code, reason, and the fields at fault.
pub(crate) fn told(status: &Status) -> (Code, String, Vec<String>) {
    let fields = status.get_details_bad_request().map(|b| b.field_violations);
    let fields = fields.unwrap_or_default().into_iter().map(|v| v.field);
    let reason = status::reason(status).unwrap_or_default();
    (status.code(), reason, fields.collect())
}

/// Asserts that `status` has this code and reason and is about this one field.
#[track_caller]
pub(crate) fn assert_refused(status: &Status, code: Code, reason: &str, field: &str) {
    assert_eq!(
        told(status),
        (code, reason.to_owned(), vec![field.to_owned()]),
        "{}",
        status.message()
    );
}

/// Asserts INVALID_ARGUMENT about this one field.
#[track_caller]
pub(crate) fn assert_invalid(status: &Status, field: &str) {
    assert_refused(
        status,
        Code::InvalidArgument,
        status::INVALID_REQUEST,
        field,
    );
}
