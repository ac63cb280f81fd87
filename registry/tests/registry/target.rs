//! Instances to check, each on a port of its own.

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::support::{listen, soon};

/// A server that answers health checks, and dies when dropped.
pub(crate) struct Checked {
    pub(crate) port: u16,
    pub(crate) health: HealthReporter,
    /// How many connections it accepted.
    pub(crate) accepted: watch::Receiver<usize>,
    serving: JoinHandle<()>,
}

impl Checked {
    pub(crate) async fn start() -> Self {
        Self::on(listen().await)
    }

    /// On a port that an earlier one had.
    pub(crate) async fn restart(port: u16) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", port)).await.unwrap())
    }

    /// Over TLS; `GET /health` is answered too.
    pub(crate) async fn start_tls(tls: TlsAcceptor) -> Self {
        Self::serve(listen().await, Some(tls))
    }

    fn on(listener: TcpListener) -> Self {
        Self::serve(listener, None)
    }

    fn serve(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (health, service) = health_reporter();
        let router = Routes::new(service).prepare().into_axum_router();
        let router = router.route("/health", axum::routing::get(async || "well"));
        let (count, accepted) = watch::channel(0);
        let serving = tokio::spawn(async move {
            // Dropped, and its connections with it, when this task is aborted.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|accepted| *accepted += 1);
                let service = TowerToHyperService::new(router.clone());
                let tls = tls.clone();
                connections.spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    let Some(tls) = tls else {
                        let _ = builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                        return;
                    };
                    // Whoever does not trust us leaves.
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    }
                });
            }
        });
        Self {
            port,
            health,
            accepted,
            serving,
        }
    }

    /// Ends it and all its connections.
    pub(crate) async fn die(mut self) {
        self.serving.abort();
        let ended = &mut self.serving;
        assert!(soon(ended).await.unwrap_err().is_cancelled());
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
