//! An instance bound to a connection.

use futures_util::{Stream, StreamExt as _, stream};
use mizan_contracts::registry::v1::{HeartbeatRequest, HeartbeatResponse};

use crate::{
    api::{request, streams::Admission},
    catalogue::{Key, Violation, check_instance_id},
    registry::{self, Known, Registry},
};

/// Answers each beat with whether its instance is known, and whose it is. What ends a stream,
/// whether its client, its connection or a message that breaks the contract, drops it, and dropping
/// it is what tells the registry.
///
/// One that names a life is also told unasked when that changes: earlier clients count the answers.
pub(crate) fn beats(
    registry: Registry,
    beats: impl Stream<Item = HeartbeatRequest> + Send + Unpin + 'static,
    admission: Admission,
) -> impl Stream<Item = Result<HeartbeatResponse, Violation>> + Send {
    let stop = registry.stopping().cancelled_owned();
    let bond = Bond {
        stream: registry.open_heartbeat(),
        registry,
        first: None,
        key: None,
        answered: None,
        _admission: admission,
    };
    stream::unfold(Some((beats, bond)), |open| async {
        let (mut beats, mut bond) = open?;
        loop {
            let beat = tokio::select! {
                beat = beats.next() => Some(beat?),
                () = bond.stream.told() => None,
            };
            let answer = match beat {
                Some(beat) => bond.beat(beat).map(Some),
                None => Ok(bond.look_again()),
            };
            match answer {
                Ok(Some(known)) => {
                    let Known {
                        registered,
                        superseded,
                    } = known;
                    let answer = HeartbeatResponse {
                        registered,
                        superseded,
                    };
                    return Some((Ok(answer), Some((beats, bond))));
                }
                Ok(None) => {}
                Err(violation) => return Some((Err(violation), None)),
            }
        }
    })
    .take_until(stop)
}

/// The stream's hold on its instance.
struct Bond {
    registry: Registry,
    stream: registry::Stream,
    /// The first message: all others say the same.
    first: Option<HeartbeatRequest>,
    /// Of the instance, once it was known.
    key: Option<Key>,
    /// What the last beat was answered with.
    answered: Option<Known>,
    _admission: Admission,
}

impl Bond {
    fn beat(&mut self, beat: HeartbeatRequest) -> Result<Known, Violation> {
        match &self.first {
            Some(first) if first.instance_id != beat.instance_id => {
                return Err(changed("instance_id"));
            }
            Some(first) if first.life != beat.life => return Err(changed("life")),
            Some(first) if first.node != beat.node => return Err(changed("node")),
            Some(_) => {}
            None => {
                let wrong = check_instance_id("instance_id", &beat.instance_id);
                if let Some(wrong) = wrong.or_else(|| request::check_life("life", &beat.life)) {
                    return Err(wrong);
                }
                self.first = Some(beat);
            }
        }
        Ok(self.known())
    }

    /// What is to be told unasked.
    fn look_again(&mut self) -> Option<Known> {
        let unasked = self.first.as_ref().is_some_and(|one| !one.life.is_empty());
        let before = self.answered.filter(|_| unasked)?;
        let now = self.known();
        (now != before).then_some(now)
    }

    fn known(&mut self) -> Known {
        let known = self.look();
        self.answered = Some(known);
        known
    }

    fn look(&mut self) -> Known {
        let unknown = Known {
            registered: false,
            superseded: false,
        };
        let Some(HeartbeatRequest {
            instance_id,
            life,
            node,
        }) = &self.first
        else {
            return unknown;
        };
        let life = request::life(life);
        // Where it is was looked up before, unless it was not there.
        if let Some(key) = &self.key {
            let known = self.registry.heartbeat(key, self.stream.id(), life);
            if known.registered {
                return known;
            }
        }
        // A process knows where it registered: without a node, on the registry's own.
        self.key = match (&**node, life) {
            ("", None) => self.registry.find("", instance_id),
            (node, _) => self.registry.find_on(node, instance_id),
        };
        let known = self.key.as_ref();
        known.map_or(unknown, |key| {
            self.registry.heartbeat(key, self.stream.id(), life)
        })
    }
}

impl Drop for Bond {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.registry.heartbeat_ended(key, self.stream.id());
        }
    }
}

fn changed(field: &str) -> Violation {
    Violation::new(field, "must be the same in every message of a stream")
}
