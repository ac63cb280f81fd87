//! Reaching the registry.

use std::time::Duration;

use mizan::Connection;
use tokio::time::{Instant, sleep};

use crate::terminal::say;

/// How long one try may take. The registry is near; a try that takes longer is lost.
const TRY_LIMIT: Duration = Duration::from_secs(1);

/// How long to go on trying: long enough for a registry that is just starting, short enough for a
/// person who mistyped its address.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(250);

/// Which registry to ask.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RegistryArgs {
    /// The registries to ask, comma-separated HOST:PORT; the first that answers is asked.
    #[arg(
        long,
        env = "MIZAN_REGISTRY",
        value_delimiter = ',',
        default_value = "127.0.0.1:8500"
    )]
    pub(crate) registry: Vec<String>,
}

/// No registry answered.
#[derive(Debug, thiserror::Error)]
#[error("no registry answers at {addresses}: {cause}")]
pub(crate) struct Unreachable {
    addresses: String,
    cause: String,
}

impl RegistryArgs {
    /// Connects to the first registry that answers. While it tries again it says so.
    pub(crate) async fn connect(&self) -> Result<Connection, Unreachable> {
        self.connect_within(PATIENCE).await
    }

    /// The same for a job that would rather wait: a registry that was killed may take a while.
    pub(crate) async fn connect_within(
        &self,
        patience: Duration,
    ) -> Result<Connection, Unreachable> {
        let began = Instant::now();
        let addresses = self.registry.join(", ");
        let mut told = false;
        loop {
            let cause = match self.try_each().await {
                Ok(connection) => return Ok(connection),
                Err(cause) => cause,
            };
            if began.elapsed() >= patience {
                return Err(Unreachable { addresses, cause });
            }
            if !told {
                told = true;
                let seconds = patience.as_secs();
                say(&format!(
                    "registry {addresses} does not answer ({cause}); trying again for {seconds} s"
                ));
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_each(&self) -> Result<Connection, String> {
        let mut cause = "no address given".to_owned();
        for address in &self.registry {
            match Connection::open(address, TRY_LIMIT).await {
                Ok(connection) => return Ok(connection),
                Err(error) => cause = error.reason().to_owned(),
            }
        }
        Err(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_there_is_one_clear_line() {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let args = RegistryArgs {
            registry: vec![address.clone()],
        };
        let error = args.connect_within(Duration::ZERO).await.unwrap_err();
        let line = error.to_string();
        assert!(
            line.contains(&address) && line.contains("refused"),
            "{line}"
        );
        assert!(!line.contains('\n'));
    }

    /// A server that anybody may open a connection to.
    async fn served() -> (String, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = mizan::Server::builder("registry").unregistered();
        let serving = async move {
            let served = server.serve(listener, std::future::pending()).await;
            served.unwrap();
        };
        (address, tokio::spawn(serving))
    }

    #[tokio::test]
    async fn of_several_registries_the_first_that_answers_is_asked() {
        let nobody = tokio::net::TcpSocket::new_v4().unwrap();
        nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let nobody = nobody.local_addr().unwrap().to_string();
        let (one, _one) = served().await;
        let (two, _two) = served().await;
        for (registry, asked) in [
            (vec![nobody.clone(), one.clone(), two.clone()], &one),
            (vec![two.clone(), nobody.clone(), one.clone()], &two),
            (vec![nobody.clone(), nobody.clone(), two.clone()], &two),
        ] {
            let args = RegistryArgs { registry };
            let connection = args.connect_within(Duration::ZERO).await.unwrap();
            assert_eq!(connection.authority(), asked, "{:?}", args.registry);
        }
    }
}
