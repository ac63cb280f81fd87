//! One connection of an instance, kept open until the instance is removed: a task around the
//! [state machine](state).

mod state;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future, stream};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use state::{Action, Event, Link};
pub(super) use state::{Backoff, State};

use super::{
    health::{self, Verdict},
    settings::Settings,
};
use crate::{
    Connection,
    connection::{Config, Freed},
    telemetry::metrics::ClientMetrics,
};

/// A change of one connection, for [`members`](super::members).
#[derive(Debug)]
pub(super) struct Change {
    pub(super) authority: Arc<str>,
    /// Which of all connections ever begun: news of a removed one is no news of its successor.
    pub(super) id: u64,
    pub(super) view: View,
}

/// Where a connection stands, as the picks need it.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) state: State,
    /// It failed, and has not been ready since.
    pub(super) failed: bool,
    pub(super) connection: Option<Connection>,
    /// The latest failure, also after it was overcome.
    pub(super) error: Option<Arc<str>>,
}

impl View {
    pub(super) const IDLE: Self = Self {
        state: State::Idle,
        failed: false,
        connection: None,
        error: None,
    };
}

/// How long after a keeper panicked another one begins.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A connection's task.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) authority: Arc<str>,
    pub(super) id: u64,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) metrics: Arc<ClientMetrics>,
    /// Whom its connections tell of free streams.
    pub(super) freed: Arc<Freed>,
}

/// Counts a connection as open for as long as its task holds it.
struct Counted(Arc<ClientMetrics>);

impl Counted {
    fn new(metrics: &Arc<ClientMetrics>) -> Self {
        metrics.connected();
        Self(metrics.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

/// Nobody listens any more: the task ends.
struct Deserted;

impl Keeper {
    /// Keeps the instance connected until `gone`, also when a defect makes its task panic.
    pub(super) async fn supervise(self, gone: CancellationToken) {
        loop {
            let kept = AssertUnwindSafe(self.clone().keep(gone.clone())).catch_unwind();
            if kept.await.is_ok() {
                return;
            }
            tracing::error!(
                instance = %self.authority,
                "the task that keeps it connected panicked, a defect; it is begun again"
            );
            let view = View {
                state: State::Backoff,
                failed: true,
                connection: None,
                error: Some("the task that keeps it connected panicked".into()),
            };
            tokio::select! {
                () = gone.cancelled() => return,
                told = self.tell(&view) => if told.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = gone.cancelled() => return,
                () = sleep(AGAIN_AFTER) => {}
            }
        }
    }

    /// Keeps the instance connected until `gone`.
    async fn keep(self, gone: CancellationToken) {
        let mut link = Link::new();
        tokio::select! {
            () = gone.cancelled() => {
                link.on(Event::Removed, now(), 0);
            }
            _ = self.keep_for_ever(&mut link) => {}
        }
    }

    async fn keep_for_ever(mut self, link: &mut Link) -> Result<(), Deserted> {
        let mut view = View::IDLE;
        let mut action = step_with(link, Event::Begin, &self.settings);
        loop {
            view.state = link.state();
            view.failed = link.has_failed();
            self.tell(&view).await?;
            let event = match action {
                Action::Stop => return Ok(()),
                Action::Pause { until } => {
                    sleep_until(until.into()).await;
                    Event::PauseOver
                }
                Action::Connect { within } => self.connect(link, &mut view, within).await,
                Action::Carry => match view.connection.clone() {
                    Some(connection) => {
                        let _counted = Counted::new(&self.metrics);
                        let event = self.carry(link, &mut view, &connection).await?;
                        view.connection = None;
                        view.error = Some(connection.reason().into());
                        event
                    }
                    // Cannot be: what is carried is connected.
                    None => Event::Failed,
                },
            };
            action = step_with(link, event, &self.settings);
        }
    }

    async fn connect(&self, link: &Link, view: &mut View, within: Duration) -> Event {
        let settings = self.settings.borrow().clone();
        let config = Config {
            connect_timeout: within,
            keep_alive_interval: settings
                .connection
                .keep_alive_interval
                .map(|interval| link.keep_alive(interval)),
            ..settings.connection.clone()
        };
        let freed = self.freed.clone();
        let connector = &*settings.connector;
        match Connection::open_among(&self.authority, &config, connector, freed).await {
            Ok(connection) => {
                view.connection = Some(connection);
                Event::Settled {
                    checked: settings.health_check.is_some(),
                }
            }
            Err(error) => {
                let reason = error.reason();
                self.metrics.connect_failed();
                tracing::debug!(instance = %self.authority, reason, "not connected");
                view.error = Some(reason.into());
                Event::Failed
            }
        }
    }

    /// Follows the health of an open connection until it ends.
    async fn carry(
        &mut self,
        link: &mut Link,
        view: &mut View,
        connection: &Connection,
    ) -> Result<Event, Deserted> {
        let mut watched = self.settings.borrow_and_update().health_check.clone();
        loop {
            // Made anew only when another service is asked about, whose first answer is awaited
            // with the last verdict standing; dropped, it cancels its stream.
            let mut verdicts = match &watched {
                Some(service) => health::watch(connection.clone(), service).left_stream(),
                None => stream::once(future::ready(Verdict::Serving)).right_stream(),
            }
            .chain(stream::pending());
            loop {
                tokio::select! {
                    () = connection.closed() => {
                        return Ok(Event::Ended { pinged_too_often: connection.pinged_too_often() });
                    }
                    Some(verdict) = verdicts.next() => self.judge(link, view, verdict).await?,
                    changed = self.settings.changed() => {
                        changed.map_err(|_| Deserted)?;
                        let asked = self.settings.borrow_and_update().health_check.clone();
                        if asked != watched {
                            watched = asked;
                            break;
                        }
                    }
                }
            }
        }
    }

    async fn judge(
        &self,
        link: &mut Link,
        view: &mut View,
        verdict: Verdict,
    ) -> Result<(), Deserted> {
        let (before, told) = (link.state(), view.error.clone());
        match verdict {
            Verdict::Serving => step(link, Event::Serving),
            Verdict::NotServing(reason) => {
                view.error = Some(reason.into());
                step(link, Event::NotServing)
            }
        };
        view.state = link.state();
        view.failed = link.has_failed();
        if before == view.state && told == view.error {
            return Ok(());
        }
        self.tell(view).await
    }

    async fn tell(&self, view: &View) -> Result<(), Deserted> {
        let change = Change {
            authority: self.authority.clone(),
            id: self.id,
            view: view.clone(),
        };
        self.changes.send(change).await.map_err(|_| Deserted)
    }
}

fn step_with(link: &mut Link, event: Event, settings: &watch::Receiver<Arc<Settings>>) -> Action {
    link.set_connect_timeout(settings.borrow().connection.connect_timeout);
    step(link, event)
}

fn step(link: &mut Link, event: Event) -> Action {
    link.on(event, now(), fastrand::u32(..))
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
