//! Membership: from what discovery knows to what a pick may use.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Ready, Rest, Snapshot,
    instance::{self, Change, Standing},
    policy::rotation::Rotation,
};
use crate::discover::{Endpoint, Known};

/// How many changes may wait to be looked at; an instance with another one waits.
const CHANGES_MAX: usize = 64;

struct Member {
    weight: u32,
    standing: Standing,
    /// Ends the instance's task when the member is removed.
    _gone: DropGuard,
}

/// Follows discovery and connections, publishing a new snapshot at every change, until nobody
/// listens any more.
pub(super) async fn keep(
    mut known: watch::Receiver<Known>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    notify: watch::Sender<()>,
) {
    let (changes, mut incoming) = mpsc::channel(CHANGES_MAX);
    let mut members = BTreeMap::new();
    let mut without_source = false;
    let mut latest = known.borrow_and_update().clone();
    loop {
        if let Known::Instances(endpoints) = &latest {
            update(&mut members, endpoints, &changes);
        }
        snapshot.store(Arc::new(published(&members, &latest)));
        notify.send_replace(());
        tokio::select! {
            () = notify.closed() => return,
            changed = known.changed(), if !without_source => match changed {
                Ok(()) => latest = known.borrow_and_update().clone(),
                // A fixed list never changes: its source is gone and the list stays.
                Err(_) => without_source = true,
            },
            Some(Change { authority, standing }) = incoming.recv() => {
                if let Some(member) = members.get_mut(&authority) {
                    // In backoff until connected: not "connecting" again for every try.
                    member.standing = standing;
                }
            }
        }
    }
}

/// Starts what is new, ends what is gone, keeps the rest.
fn update(
    members: &mut BTreeMap<Arc<str>, Member>,
    endpoints: &[Endpoint],
    changes: &mpsc::Sender<Change>,
) {
    members.retain(|authority, _| endpoints.iter().any(|e| *e.authority == **authority));
    for endpoint in endpoints {
        let authority: Arc<str> = endpoint.authority.as_str().into();
        let member = members.entry(authority.clone()).or_insert_with(|| {
            let gone = CancellationToken::new();
            tokio::spawn(instance::keep(authority, changes.clone(), gone.clone()));
            Member {
                weight: endpoint.weight,
                standing: Standing::Connecting,
                _gone: gone.drop_guard(),
            }
        });
        member.weight = endpoint.weight;
    }
}

fn published(members: &BTreeMap<Arc<str>, Member>, known: &Known) -> Snapshot {
    let mut ready = Vec::new();
    let mut connecting = false;
    let mut failure = None;
    for (authority, member) in members {
        match &member.standing {
            Standing::Ready(connection) => ready.push(Ready {
                authority: authority.clone(),
                connection: connection.clone(),
                weight: member.weight,
            }),
            Standing::Connecting => connecting = true,
            Standing::Backoff(reason) => failure = Some(reason.clone()),
        }
    }
    let rest = match (known, failure) {
        // Of a connection that broke we have not heard yet, though a pick may have seen it: it is
        // about to be made again.
        _ if connecting || !ready.is_empty() => Rest::Connecting,
        (_, Some(reason)) => Rest::Failed(reason),
        (Known::Unknown, None) => Rest::Connecting,
        (Known::Unreachable(reason), None) => Rest::Failed(reason.clone()),
        (Known::Instances(_), None) => Rest::Failed("none is registered and passing".to_owned()),
    };
    let weights: Vec<_> = ready.iter().map(|r| r.weight).collect();
    Snapshot {
        rotation: Rotation::new(&weights),
        ready,
        rest,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::Connection;

    #[tokio::test]
    async fn a_connection_that_a_pick_found_closed_is_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = h2::server::handshake(stream).await.unwrap();
            server.accept().await
        });
        let connection = Connection::open(&address, Duration::from_secs(1)).await;
        let member = Member {
            weight: 1,
            standing: Standing::Ready(connection.unwrap()),
            _gone: CancellationToken::new().drop_guard(),
        };
        let members = BTreeMap::from([(Arc::from(address.as_str()), member)]);
        // Not "none is registered": a pick looks at the rest only when all that is ready is closed.
        let rest = published(&members, &Known::Instances(Vec::new())).rest;
        assert_eq!(rest, Rest::Connecting);
    }
}
