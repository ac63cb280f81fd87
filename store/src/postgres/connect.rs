//! Making connections, and not making them too often.

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::{
    Client, NoTls, Socket,
    tls::{MakeTlsConnect, TlsConnect, TlsStream},
};

use crate::Unavailable;

use super::{
    BACKOFF_MAX, BACKOFF_MIN, CLIENT_CHECK, CONNECT_MAX, LOCK_MAX, READ_STATEMENT_MAX, SILENCE_MAX,
    STATEMENT_MAX, Session, address::Address,
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Write,
    Read,
}

pub(super) struct Connector {
    address: Address,
    gate: Mutex<Gate>,
}

/// After a failure, the time before which no connection is tried.
#[derive(Debug, Default)]
struct Gate {
    failures: u32,
    closed_until: Option<Instant>,
}

impl Gate {
    fn is_closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    fn failed(&mut self, now: Instant) {
        let pause = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.closed_until = Some(now + pause.min(BACKOFF_MAX));
    }
}

impl Connector {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            gate: Mutex::default(),
        }
    }

    pub(super) async fn connect(&self, purpose: Purpose) -> Result<Session, Unavailable> {
        if self.gate.lock().is_closed(Instant::now()) {
            return Err(Unavailable::store("the server was away a moment ago"));
        }
        let connected = timeout(CONNECT_MAX, self.try_to_connect(purpose))
            .await
            .unwrap_or_else(|_| Err(Unavailable::store("the server does not answer")));
        let mut gate = self.gate.lock();
        match &connected {
            Ok(_) => *gate = Gate::default(),
            Err(_) => gate.failed(Instant::now()),
        }
        connected
    }

    async fn try_to_connect(&self, purpose: Purpose) -> Result<Session, Unavailable> {
        let client = match &self.address.tls {
            Some(tls) => self.login(tls.clone()).await?,
            None => self.login(NoTls).await?,
        };
        client
            .batch_execute(&settings(purpose, &self.address.schema))
            .await?;
        Ok(Session::new(client))
    }

    async fn login<T>(&self, tls: T) -> Result<Client, tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: TlsStream + Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = self.address.config.connect(tls).await?;
        // Ends with its client, or with the server.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                let cause = Unavailable::from(error).chain();
                tracing::warn!(cause, "connection to the database broken");
            }
        });
        Ok(client)
    }
}

/// The settings of a session, as SQL. The name of the schema was looked at when the URL was.
fn settings(purpose: Purpose, schema: &str) -> String {
    let statement = match purpose {
        Purpose::Write => STATEMENT_MAX,
        Purpose::Read => READ_STATEMENT_MAX,
    };
    let kind = match purpose {
        // A writer's statements look up by key what a group names. The planner takes another way when
        // a table has grown since it was last analyzed: it then reads the table from end to end, each
        // row compared with each name.
        Purpose::Write => {
            "SET synchronous_commit = on; SET default_transaction_isolation = 'read committed';
             SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"
        }
        Purpose::Read => {
            "SET default_transaction_read_only = on;
             SET default_transaction_isolation = 'repeatable read'"
        }
    };
    format!(
        "SET search_path = \"{schema}\"; {kind};
         SET client_min_messages = warning;
         SET jit = off;
         SET statement_timeout = {statement};
         SET lock_timeout = {lock};
         SET idle_in_transaction_session_timeout = {silence};
         SELECT set_config(name, '{check}', false) FROM pg_catalog.pg_settings
          WHERE name = 'client_connection_check_interval'",
        statement = statement.as_millis(),
        lock = LOCK_MAX.as_millis(),
        silence = SILENCE_MAX.as_millis(),
        check = CLIENT_CHECK.as_millis(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_backs_off_up_to_its_most() {
        let mut gate = Gate::default();
        let mut now = Instant::now();
        assert!(!gate.is_closed(now));
        let mut pause = BACKOFF_MIN;
        for _ in 0..100 {
            gate.failed(now);
            assert!(gate.is_closed(now + pause - BACKOFF_MIN / 2));
            now += pause;
            assert!(!gate.is_closed(now));
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }
}
