//! How many streams of a kind may be open: each holds memory for as long as its client likes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dashmap::{DashMap, Entry};
use mizan::status::retry_later;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

/// When to try again to open a stream that was one too many.
const RETRY: Duration = Duration::from_secs(1);

/// One in so many is kept for connections that have few, so that one client alone cannot have every other
/// refused.
const RESERVED: usize = 4;

/// So many are few.
const FEW: usize = 64;

/// Those that may be open.
#[derive(Debug)]
pub(super) struct Streams {
    what: &'static str,
    free: Arc<Semaphore>,
    reserved: usize,
    open: Arc<DashMap<SocketAddr, usize>>,
}

/// One of them; its place comes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    _place: OwnedSemaphorePermit,
    peer: Option<(Arc<DashMap<SocketAddr, usize>>, SocketAddr)>,
}

impl Streams {
    /// So many, called this.
    pub(super) fn new(max: usize, what: &'static str) -> Self {
        Self {
            what,
            free: Arc::new(Semaphore::new(max)),
            reserved: max / RESERVED,
            open: Arc::default(),
        }
    }

    /// Opens one for the client at the other end of this connection, if it is known.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where there are too many, or only the last are left and it has more than few.
    pub(super) fn admit(&self, peer: Option<SocketAddr>) -> Result<Admission, Status> {
        let tight = self.free.available_permits() <= self.reserved;
        let has = peer.and_then(|peer| self.open.get(&peer).map(|open| *open));
        if tight && has.is_some_and(|has| has >= FEW) {
            return Err(self.refused("and what is left is for connections that have few"));
        }
        let place = Arc::clone(&self.free).try_acquire_owned();
        let place = place.map_err(|_| self.refused("and there is room for no more"))?;
        let peer = peer.map(|peer| {
            *self.open.entry(peer).or_default() += 1;
            (Arc::clone(&self.open), peer)
        });
        Ok(Admission {
            _place: place,
            peer,
        })
    }

    fn refused(&self, why: &str) -> Status {
        let text = format!(
            "the registry has as many {} open as it takes, {why}",
            self.what
        );
        retry_later(Code::ResourceExhausted, "TOO_MANY_STREAMS", text, RETRY)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some((open, peer)) = self.peer.take() else {
            return;
        };
        if let Entry::Occupied(mut held) = open.entry(peer) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn one_client_cannot_have_all_and_what_it_had_comes_back() {
        let streams = Streams::new(1000, "watches");
        let open = |port| streams.admit(peer(port)).ok();
        let greedy: Vec<_> = std::iter::from_fn(|| open(1)).collect();
        assert_eq!(greedy.len(), 750);
        let modest: Vec<_> = std::iter::from_fn(|| open(2)).collect();
        assert_eq!(modest.len(), FEW);
        // Where nobody knows who asks, it has few.
        assert!(streams.admit(None).is_ok());
        drop(greedy);
        assert!(open(2).is_some());
        drop(modest);
        assert!(streams.open.is_empty());
        assert_eq!(streams.free.available_permits(), 1000);
    }
}
