//! What is counted for the servers of a process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{
    method::{MethodTally, ServerMethod},
    methods::Methods,
};

/// The metrics of all servers that share a registry: A66 gives them no attribute to tell them
/// apart by.
#[derive(Default)]
pub(crate) struct ServerMetrics {
    methods: Methods<ServerMethod>,
    shed: AtomicU64,
    servers: Mutex<Servers>,
}

/// What a server carries at the moment of asking; several are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Carried {
    pub(crate) connections: u64,
    pub(crate) open: u64,
    pub(crate) admitted: u64,
    pub(crate) unread: u64,
}

/// Something that knows what a server carries.
pub(crate) trait Carries: Send + Sync {
    fn carried(&self) -> Carried;
}

#[derive(Default)]
struct Servers {
    live: Vec<Weak<dyn Carries>>,
    any: bool,
}

impl fmt::Debug for ServerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerMetrics").finish_non_exhaustive()
    }
}

impl ServerMetrics {
    /// What is counted for the method of a path, if some service answered it before. Paths come
    /// from strangers; only what a service knows gets a name.
    pub(crate) fn method(&self, path: &str) -> Option<Arc<ServerMethod>> {
        self.methods.get(path)
    }

    /// The same for a path that a service answered.
    pub(crate) fn learn(&self, path: &str) -> Arc<ServerMethod> {
        self.methods.learn(path)
    }

    /// Where paths that no service answers are counted.
    pub(crate) fn other(&self) -> Arc<ServerMethod> {
        self.methods.other()
    }

    /// A call was refused because every place was taken.
    #[cfg(feature = "server")]
    pub(crate) fn shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    pub(super) fn all_shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    /// A server begins. It is asked for as long as it is there.
    #[cfg(feature = "server")]
    pub(crate) fn observe(&self, server: Weak<dyn Carries>) {
        let mut servers = self.servers.lock();
        servers.any = true;
        servers.live.push(server);
    }

    /// What all servers carry now; nothing if there never was one.
    pub(super) fn carried(&self) -> Option<Carried> {
        let mut servers = self.servers.lock();
        servers.live.retain(|server| server.strong_count() > 0);
        let live = servers.live.iter().filter_map(Weak::upgrade);
        let mut sum = Carried::default();
        for one in live.map(|server| server.carried()) {
            sum.connections += one.connections;
            sum.open += one.open;
            sum.admitted += one.admitted;
            sum.unread += one.unread;
        }
        servers.any.then_some(sum)
    }

    pub(super) fn tally(&self) -> BTreeMap<Box<str>, MethodTally> {
        let all = self.methods.all().into_iter();
        all.map(|(name, method)| (name, method.tally())).collect()
    }
}
