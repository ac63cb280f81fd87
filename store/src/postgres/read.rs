//! Reading from a server: a few connections that cannot write, handed round.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt as _, join};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{Unavailable, group, seam::Query};

use super::{
    CONNECT_MAX, READ_TIME_MAX, READERS_MAX, Session,
    connect::{Connector, Purpose},
};

#[derive(Clone)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Arc<Connector>,
    /// Connections that nobody uses now; opened as needed, kept for the next reader.
    idle: Mutex<Vec<Session>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        let shared = Shared {
            connector,
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(READERS_MAX)),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Begins no more reads; those that go on come to their end.
    pub(crate) fn close(&self) {
        self.shared.turns.close();
        self.shared.idle.lock().clear();
    }

    pub(crate) async fn run<Q: Query>(&self, query: Q) -> Result<Q::Output, Unavailable> {
        let shared = self.shared.clone();
        let Ok(turn) = self.shared.turns.clone().acquire_owned().await else {
            return Err(Unavailable::stopped());
        };
        let (caller, answer) = oneshot::channel();
        // A task of its own: a caller who leaves must not leave a transaction open.
        tokio::spawn(async move {
            let _turn = turn;
            shared.read(query, caller).await;
        });
        answer.await.unwrap_or_else(|_| Err(Unavailable::stopped()))
    }
}

impl Shared {
    async fn read<Q: Query>(
        &self,
        query: Q,
        caller: oneshot::Sender<Result<Q::Output, Unavailable>>,
    ) {
        let session = match self.session().await {
            Ok(session) => session,
            Err(error) => {
                let _ = caller.send(Err(error));
                return;
            }
        };
        let read = timeout(READ_TIME_MAX, snapshot(&session, query))
            .await
            .unwrap_or_else(|_| Err(Unavailable::store("the server does not answer")));
        let sound = read.is_ok();
        // A caller who left does not want it.
        let _ = caller.send(read);
        // The caller need not wait for this. What went wrong takes its connection with it.
        if sound && let Ok(Ok(())) = timeout(CONNECT_MAX, session.rollback()).await {
            self.idle.lock().push(session);
        }
    }

    async fn session(&self) -> Result<Session, Unavailable> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(session) if session.is_closed() => {}
                Some(session) => return Ok(session),
                None => return self.connector.connect(Purpose::Read).await,
            }
        }
    }
}

/// BEGIN is sent and not waited for, to save a round trip: the connection cannot write and keeps
/// the order, and without a BEGIN that went well the answer is thrown away.
async fn snapshot<Q: Query>(session: &Session, query: Q) -> Result<Q::Output, Unavailable> {
    let reading = AssertUnwindSafe(query.on_server(session)).catch_unwind();
    let (begun, read) = join!(session.begin(), reading);
    begun?;
    read.unwrap_or_else(|_| Err(group::panicked()))
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}
