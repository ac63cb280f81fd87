//! The service in this process, over the wire.

use std::time::Duration;

use mizan::{Connection, args::ServerArgs};
use mizan_contracts::zakat::v1::zakat_service_client::ZakatServiceClient;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use zakat_svc::{Config, Error};

pub(crate) struct Server {
    pub(crate) client: ZakatServiceClient<Connection>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Error>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let config = Config {
            server: ServerArgs::with_registry(Vec::new()),
            policies: None,
        };
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(zakat_svc::serve(listener, config, shutdown));
        let connection = Connection::open(&authority, Duration::from_secs(60)).await;
        Self {
            client: ZakatServiceClient::new(connection.unwrap()),
            stop,
            serving,
        }
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.unwrap().unwrap();
    }
}
