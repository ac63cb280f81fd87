//! An instance bound to a connection.

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    catalogue::{Key, StreamId, Violation, check_instance_id},
    registry::Registry,
};

/// Answers each instance id with whether it is known. What ends a stream, whether its client, its
/// connection or an id that breaks the contract, drops it, and dropping it is what tells the
/// registry.
pub(crate) fn beats(
    registry: Registry,
    ids: impl Stream<Item = String> + Send + Unpin + 'static,
    admission: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<bool, Violation>> + Send {
    let stop = registry.stopping().cancelled_owned();
    let bond = Bond {
        stream: registry.open_heartbeat(),
        registry,
        instance_id: None,
        key: None,
        _admission: admission,
    };
    stream::unfold(Some((ids, bond)), |open| async {
        let (mut ids, mut bond) = open?;
        let id = ids.next().await?;
        match bond.beat(id) {
            Ok(registered) => Some((Ok(registered), Some((ids, bond)))),
            Err(violation) => Some((Err(violation), None)),
        }
    })
    .take_until(stop)
}

/// The stream's hold on its instance.
struct Bond {
    registry: Registry,
    stream: StreamId,
    /// Of the first message.
    instance_id: Option<String>,
    /// Of the instance, once it was known.
    key: Option<Key>,
    _admission: OwnedSemaphorePermit,
}

impl Bond {
    fn beat(&mut self, id: String) -> Result<bool, Violation> {
        let id = match &self.instance_id {
            Some(first) if *first != id => {
                return Err(Violation {
                    field: "instance_id".to_owned(),
                    description: "must be the same in every message of a stream".to_owned(),
                });
            }
            Some(first) => first,
            None => {
                if let Some(violation) = check_instance_id("instance_id", &id) {
                    return Err(violation);
                }
                self.instance_id.insert(id)
            }
        };
        // Where it is was looked up before, unless it was not there.
        if let Some(key) = &self.key
            && self.registry.heartbeat(key, self.stream)
        {
            return Ok(true);
        }
        self.key = self.registry.find("", id);
        let known = self.key.as_ref();
        Ok(known.is_some_and(|key| self.registry.heartbeat(key, self.stream)))
    }
}

impl Drop for Bond {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.registry.heartbeat_ended(key, self.stream);
        }
    }
}
