//! One instance: all its connections together, and what the picks see of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::{
    instance::{State, View},
    load::Load,
    policy::Candidate,
    stats::{InstanceState, InstanceStats},
};
use crate::{
    Connection,
    breaker::{Breaker, Open},
    connection::Slot,
    discover::Endpoint,
};

/// An instance that can carry calls. The same one in every snapshot until something about it
/// changes.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) authority: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) zone: Arc<str>,
    /// What it carries; survives snapshots and reconnections.
    pub(crate) load: Arc<Load>,
    /// Its own breaker, if each instance has one; survives likewise.
    pub(crate) breaker: Option<Breaker>,
    /// When it became ready, after not having been.
    pub(super) since: std::time::Instant,
    /// Never empty.
    connections: Box<[Connection]>,
    /// How many of them take turns, at least one; the others are for when those have no free stream.
    regular: usize,
    /// Whose turn it is among the regular ones.
    turn: AtomicUsize,
}

impl Ready {
    /// Whether a call can be sent to it now.
    pub(super) fn is_open(&self) -> bool {
        self.connections.iter().any(|c| !c.is_closed())
    }

    /// Whether a call can be sent to it now without waiting for a sign of life.
    pub(super) fn is_responsive(&self) -> bool {
        let fit = |c: &Connection| responsive(c) && c.has_free_stream();
        self.connections.iter().any(fit)
    }

    /// Whether it takes another stream now.
    pub(super) fn has_free_stream(&self) -> bool {
        let fit = |c: &Connection| !c.is_closed() && c.has_free_stream();
        self.connections.iter().any(fit)
    }

    /// Whether a call can be sent to it now, and its breaker would let it.
    pub(super) fn is_usable(&self, now: std::time::Instant) -> bool {
        let admits = |breaker: &Breaker| breaker.might_admit(now);
        self.is_open() && self.breaker.as_ref().is_none_or(admits)
    }

    /// The breaker's refusal, if it refuses.
    pub(super) fn refusal(&self, now: std::time::Instant) -> Option<Open> {
        let breaker = self.breaker.as_ref()?;
        if breaker.might_admit(now) {
            return None;
        }
        breaker.admit(now).err()
    }

    /// How many of its connections carry no call to its answer now.
    pub(super) fn stalled(&self) -> usize {
        let stalled = |c: &&Connection| c.is_stalled() || c.is_fruitless();
        self.connections.iter().filter(stalled).count()
    }

    /// A place for the next call: the connections take turns, and those that are for when they are
    /// full come last, so that they rest when they are not needed.
    pub(super) fn place(&self) -> Option<(&Connection, Slot)> {
        let at = |connection: &'_ Connection| connection.slot();
        if let [only] = &*self.connections {
            return at(only).map(|slot| (only, slot));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let regular = self.regular;
        let mut in_order = (0..self.connections.len()).filter_map(|offset| {
            let index = match offset < regular {
                true => turn.wrapping_add(offset).checked_rem(regular)?,
                false => offset,
            };
            self.connections.get(index)
        });
        let mut fruitful = in_order
            .clone()
            .filter(|c| responsive(c) && !c.is_fruitless());
        let mut responsive = in_order.clone().filter(|c| responsive(c));
        fruitful
            .find_map(|c| at(c).map(|slot| (c, slot)))
            .or_else(|| responsive.find_map(|c| at(c).map(|slot| (c, slot))))
            .or_else(|| in_order.find_map(|c| at(c).filter(|_| !c.is_closed()).map(|s| (c, s))))
    }

    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            authority: self.authority.clone(),
            weight: self.weight,
            zone: self.zone.clone(),
            load: self.load.clone(),
        }
    }
}

fn responsive(connection: &Connection) -> bool {
    !connection.is_closed() && !connection.is_stalled()
}

/// One connection of a member.
#[derive(Debug)]
struct Kept {
    id: u64,
    view: View,
    /// How many streams it had ever begun when it was last found at rest.
    rested: Option<u32>,
    /// Ends the connection's task when it is no longer wanted.
    _gone: DropGuard,
}

/// An instance that discovery knows.
#[derive(Debug)]
pub(super) struct Member {
    authority: Arc<str>,
    weight: u32,
    zone: Arc<str>,
    load: Arc<Load>,
    breaker: Option<Breaker>,
    kept: Vec<Kept>,
    /// How many connections it has beyond those that are wanted, because they were full.
    extra: usize,
    regular: usize,
    /// Left out for a while by outlier detection.
    ejected: bool,
    since: Instant,
    state: InstanceState,
    ready: Option<Arc<Ready>>,
}

impl Member {
    pub(super) fn new(endpoint: &Endpoint, breaker: Option<Breaker>) -> Self {
        Self {
            authority: endpoint.authority().into(),
            weight: endpoint.weight().max(1),
            zone: endpoint.zone().into(),
            load: Arc::default(),
            breaker,
            kept: Vec::new(),
            extra: 0,
            regular: 1,
            ejected: false,
            since: Instant::now(),
            state: InstanceState::Idle,
            ready: None,
        }
    }

    pub(super) fn authority(&self) -> &Arc<str> {
        &self.authority
    }

    /// What discovery says of it now. Its connections stay.
    pub(super) fn update(&mut self, endpoint: &Endpoint) {
        let (weight, zone) = (endpoint.weight().max(1), endpoint.zone());
        if self.weight != weight || *self.zone != *zone {
            self.weight = weight;
            self.zone = zone.into();
            self.refresh();
        }
    }

    /// Gives it another breaker, or none.
    pub(super) fn guard(&mut self, breaker: Option<Breaker>) {
        self.breaker = breaker;
        self.refresh();
    }

    /// How many more connections it should have: one at first, so that nobody is besieged by
    /// several that all fail; the others once it has been ready.
    pub(super) fn missing(&self, wanted: usize) -> usize {
        let wanted = match self.ready.is_some() {
            true => wanted + self.extra,
            false => 1,
        };
        wanted.saturating_sub(self.kept.len())
    }

    /// One more connection, if `max` allows it, and all it has are ready and full (gRFC A105), or carry
    /// calls that are given up one after another.
    pub(super) fn grow(&mut self, max: usize) -> bool {
        let full = |kept: &Kept| {
            let connection = kept.view.connection.as_ref();
            kept.view.state == State::Ready
                && connection.is_some_and(|c| !c.has_free_stream() || c.is_fruitless())
        };
        let grows = !self.kept.is_empty() && self.kept.len() < max && self.kept.iter().all(full);
        self.extra += usize::from(grows);
        grows
    }

    /// Looks whether the connections that were opened because others were full are still needed:
    /// one that carried nothing since it was last looked at ends.
    pub(super) fn rest(&mut self) -> bool {
        let (regular, mut ended) = (self.regular, 0);
        let mut index = 0;
        self.kept.retain_mut(|kept| {
            index += 1;
            let now = kept.view.connection.as_ref().map(Connection::streams);
            let at_rest = now.and_then(|(carried, begun)| (carried == 0).then_some(begun));
            let goes = index > regular && at_rest.is_some() && at_rest == kept.rested;
            kept.rested = at_rest;
            ended += usize::from(goes);
            !goes
        });
        if ended > 0 {
            self.extra = self.extra.saturating_sub(ended);
            self.refresh();
        }
        ended > 0
    }

    /// Whether it has connections that are for when others are full.
    pub(super) fn has_extra(&self) -> bool {
        self.extra > 0
    }

    /// Begins another connection.
    pub(super) fn keep(&mut self, id: u64, gone: DropGuard) {
        self.kept.push(Kept {
            id,
            view: View::IDLE,
            rested: None,
            _gone: gone,
        });
    }

    /// Ends connections beyond `wanted` and those that were added because they were full; what they
    /// carry is finished.
    pub(super) fn shrink(&mut self, wanted: usize) {
        let all = wanted + self.extra;
        if self.kept.len() > all || self.regular != wanted {
            self.kept.truncate(all);
            self.regular = wanted;
            self.refresh();
        }
    }

    /// News of one of its connections.
    pub(super) fn apply(&mut self, id: u64, view: View) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.id == id) {
            kept.view = view;
            self.refresh();
        }
    }

    /// Outlier detection leaves it out, or takes it back. Its connections stay (gRFC A50).
    pub(super) fn eject(&mut self, ejected: bool) {
        self.ejected = ejected;
        self.refresh();
    }

    /// What it carries.
    pub(super) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected
    }

    /// What a pick may use, unless it is ejected.
    pub(super) fn ready(&self) -> Option<&Arc<Ready>> {
        self.ready.as_ref()
    }

    /// Whether it may be ready soon, without having failed before.
    pub(super) fn is_hopeful(&self) -> bool {
        self.kept.iter().any(|kept| !kept.view.failed)
    }

    fn refresh(&mut self) {
        let open = |kept: &Kept| {
            let ready = kept.view.state == State::Ready;
            kept.view.connection.clone().filter(|_| ready)
        };
        let connections: Box<[_]> = self.kept.iter().filter_map(open).collect();
        let since = self.ready.as_ref().map(|ready| ready.since);
        let since = since.unwrap_or_else(|| Instant::now().into_std());
        self.ready = (!connections.is_empty()).then(|| {
            Arc::new(Ready {
                authority: self.authority.clone(),
                weight: self.weight,
                zone: self.zone.clone(),
                load: self.load.clone(),
                breaker: self.breaker.clone(),
                since,
                regular: self.regular.clamp(1, connections.len().max(1)),
                connections,
                // Channels of many processes begin at different connections.
                turn: AtomicUsize::new(fastrand::usize(..1 << 16)),
            })
        });
        let state = self.state_now();
        if state != self.state {
            tracing::debug!(instance = %self.authority, from = %self.state, to = %state, "instance changed");
            self.state = state;
            self.since = Instant::now();
        }
    }

    fn state_now(&self) -> InstanceState {
        if self.ready.is_some() {
            return if self.ejected {
                InstanceState::Ejected
            } else {
                InstanceState::Ready
            };
        }
        let has = |state| self.kept.iter().any(|kept| kept.view.state == state);
        if has(State::Unhealthy) {
            InstanceState::Unhealthy
        } else if has(State::Connecting) || has(State::Checking) {
            InstanceState::Connecting
        } else if has(State::Backoff) {
            InstanceState::Backoff
        } else {
            InstanceState::Idle
        }
    }

    /// How many of its connections carry no call to its answer.
    pub(super) fn stalled(&self) -> usize {
        let ready = self.ready.as_ref();
        ready.map_or(0, |ready| ready.stalled())
    }

    pub(super) fn stats(&self) -> InstanceStats {
        let error = |kept: &Kept| kept.view.error.clone();
        InstanceStats {
            authority: self.authority.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            state: self.state,
            connections: self.ready.as_ref().map_or(0, |r| r.connections.len()),
            connections_stalled: self.stalled(),
            in_flight: self.load.in_flight(),
            last_error: self.kept.iter().find_map(error),
            since: self.since.into_std(),
        }
    }
}
