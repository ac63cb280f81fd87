//! The supervisors of all processes: started together, drained in order.

use std::{collections::BTreeMap, future::pending, sync::Arc};

use futures_util::future::select_all;
use tokio::{sync::watch, task::JoinSet};

use super::{
    board::Board,
    child::Launch,
    lines,
    plan::{Group, Member},
    supervise::{Order, Supervisor},
};
use crate::{signals::Signals, terminal::colours};

/// All supervisors, by group, in the order of draining.
pub(super) struct Crew {
    groups: BTreeMap<Group, Squad>,
}

/// The supervisors of a group, and the way to give them orders.
struct Squad {
    orders: watch::Sender<Order>,
    supervisors: JoinSet<Result<(), String>>,
}

impl Crew {
    /// Starts every process.
    pub(super) fn start(members: &[Member], launch: &Arc<Launch>, board: &Arc<Board>) -> Self {
        let coloured = colours();
        let mut groups = BTreeMap::from(Group::ALL.map(|group| (group, Squad::new())));
        for (index, member) in members.iter().enumerate() {
            if let Some(squad) = groups.get_mut(&member.group) {
                let supervisor = Supervisor {
                    member: member.clone(),
                    // The registry is alone, then come two of each: one colour for both.
                    prefix: lines::prefix(&member.name, index.div_ceil(2), coloured),
                    launch: launch.clone(),
                    board: board.clone(),
                    orders: squad.orders.subscribe(),
                };
                squad.supervisors.spawn(supervisor.run());
            }
        }
        Self { groups }
    }

    /// Waits until one of them gives up, and says why in one line.
    pub(super) async fn failure(&mut self) -> String {
        let failures = self
            .groups
            .values_mut()
            .map(|squad| Box::pin(squad.failure()));
        select_all(failures).await.0
    }

    /// Drains group after group. One more signal kills all that is left.
    pub(super) async fn drain(mut self, signals: &mut Signals) {
        let everyone: Vec<_> = self
            .groups
            .values()
            .map(|squad| squad.orders.clone())
            .collect();
        for squad in self.groups.values_mut() {
            squad.orders.send_if_modified(Order::raise_to_drain);
            loop {
                tokio::select! {
                    ended = squad.supervisors.join_next() => if ended.is_none() { break },
                    () = signals.next() => {
                        for orders in &everyone {
                            orders.send_replace(Order::Kill);
                        }
                    }
                }
            }
        }
    }
}

impl Squad {
    fn new() -> Self {
        Self {
            orders: watch::Sender::new(Order::Run),
            supervisors: JoinSet::new(),
        }
    }

    async fn failure(&mut self) -> String {
        match self.supervisors.join_next().await {
            Some(Ok(Err(line))) => line,
            Some(Err(error)) => format!("a supervisor ended: {error}"),
            // Nobody was told to drain, so nobody ends well.
            Some(Ok(Ok(()))) | None => pending().await,
        }
    }
}
