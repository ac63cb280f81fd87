//! What is counted for the servers of a process.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    method::{MethodTally, ServerMethod},
    methods::Methods,
};

/// The metrics of all servers that share a registry: A66 gives them no attribute to tell them
/// apart by.
#[derive(Debug, Default)]
pub(crate) struct ServerMetrics {
    methods: Methods<ServerMethod>,
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

    pub(super) fn tally(&self) -> BTreeMap<Box<str>, MethodTally> {
        let all = self.methods.all().into_iter();
        all.map(|(name, method)| (name, method.tally())).collect()
    }
}
