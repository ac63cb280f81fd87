//! Writing to a server: one connection, one transaction for all who wait.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Unavailable,
    group::{self, Asked, Group},
    seam::Writes,
    wait::{self, Closing, Next},
};

use super::{
    CONNECT_MAX, GROUP_TIME_MAX, Session, TRIES_MAX,
    connect::{Connector, Purpose},
};

/// A group that was not written.
struct Failure {
    error: Unavailable,
    /// Whether its commands deserve a try each.
    alone: bool,
}

/// Runs until every handle is gone or it is told to end. While one group commits, the next one gathers in the queue.
pub(super) async fn write_groups<W: Writes>(
    connector: Arc<Connector>,
    session: Session,
    mut waiting: mpsc::Receiver<Asked<W>>,
    mut closing: Closing,
) {
    let mut writer = Writer {
        connector,
        session: Some(session),
    };
    let mut asked = Vec::new();
    while wait::next(&mut waiting, &mut closing, &mut asked, group::most(), None).await
        == Next::Work
    {
        let group = Group::of(&mut asked);
        if !group.is_empty() {
            writer.write_group::<W>(group).await;
        }
    }
}

struct Writer {
    connector: Arc<Connector>,
    session: Option<Session>,
}

impl Writer {
    async fn write_group<W: Writes>(&mut self, group: Group<W>) {
        match self.write::<W>(&group.commands).await {
            Ok(outcomes) => group.answer(Ok(outcomes)),
            Err(failure) if failure.alone && group.commands.len() > 1 => {
                tracing::warn!(
                    cause = failure.error.chain(),
                    commands = group.commands.len(),
                    "group undone; each command is tried alone"
                );
                for one in group.alone() {
                    let written = self.write::<W>(&one.commands).await;
                    one.answer(written.map_err(|failure| failure.error));
                }
            }
            Err(failure) => group.answer(Err(failure.error)),
        }
    }

    async fn write<W: Writes>(
        &mut self,
        commands: &[W::Command],
    ) -> Result<Vec<W::Outcome>, Failure> {
        let mut tries = 1;
        loop {
            let (error, alone) = match self.try_to_write::<W>(commands).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(failure) => (failure.error, failure.alone),
            };
            if !error.is_a_conflict() || tries == TRIES_MAX {
                return Err(Failure { error, alone });
            }
            tries += 1;
        }
    }

    async fn try_to_write<W: Writes>(
        &mut self,
        commands: &[W::Command],
    ) -> Result<Vec<W::Outcome>, Failure> {
        let session = self.begun().await.map_err(|error| Failure {
            error,
            alone: false,
        })?;
        let written = timeout(GROUP_TIME_MAX, transact::<W>(&session, commands))
            .await
            .unwrap_or_else(|_| Err(Unavailable::store("the server does not answer")));
        let error = match written {
            Ok(outcomes) => {
                self.session = Some(session);
                return Ok(outcomes);
            }
            Err(error) => error,
        };
        // Whatever is not surely undone is left to the server: it undoes what a connection leaves.
        let undone = !session.is_closed()
            && !error.spoils_the_session()
            && timeout(CONNECT_MAX, session.rollback())
                .await
                .is_ok_and(|rolled_back| rolled_back.is_ok());
        let alone = error.is_a_commands_doing() && undone;
        if undone {
            self.session = Some(session);
        }
        Err(Failure { error, alone })
    }

    /// A session with a transaction begun. A connection that broke while nobody used it is replaced
    /// unseen: nothing was asked of it yet.
    async fn begun(&mut self) -> Result<Session, Unavailable> {
        if let Some(session) = self.session.take()
            && !session.is_closed()
            && let Ok(Ok(())) = timeout(CONNECT_MAX, session.begin()).await
        {
            return Ok(session);
        }
        let session = self.connector.connect(Purpose::Write).await?;
        timeout(CONNECT_MAX, session.begin())
            .await
            .unwrap_or_else(|_| Err(Unavailable::store("the server does not answer")))?;
        Ok(session)
    }
}

async fn transact<W: Writes>(
    session: &Session,
    commands: &[W::Command],
) -> Result<Vec<W::Outcome>, Unavailable> {
    let outcomes = AssertUnwindSafe(W::on_server(session, commands))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(group::panicked()))?;
    let outcomes = group::one_each::<W>(commands, outcomes)?;
    session.commit().await?;
    Ok(outcomes)
}
