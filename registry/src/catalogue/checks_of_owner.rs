//! Checks that come and go by themselves, apart from their owner's registration.

use std::sync::Arc;

use crate::catalogue::{
    Catalogue, CheckDefinition, CheckRef, Effects, Instance, Node, NotAdded, Owner, UnixMillis,
    limits::CHECKS_MAX,
};

impl Catalogue {
    /// Adds a check to an instance or a node, or replaces the one of its id.
    pub(crate) fn put_check(
        &mut self,
        owner: &Owner,
        check: CheckDefinition,
        now: UnixMillis,
    ) -> Result<Effects, NotAdded> {
        let held = self.checks_of(owner).ok_or(NotAdded::UnknownOwner)?;
        let mut others = held.iter().map(|held| &held.view.definition.check_id);
        if held.len() >= CHECKS_MAX && others.all(|id| *id != check.check_id) {
            return Err(NotAdded::TooMany);
        }
        let check = Arc::new(check);
        self.with_checks(owner, now, |checks| {
            match checks
                .iter_mut()
                .find(|held| held.check_id == check.check_id)
            {
                Some(held) => *held = check,
                None => checks.push(check),
            }
        })
        .ok_or(NotAdded::UnknownOwner)
    }

    /// Removes a check; nothing when it is not known.
    pub(crate) fn remove_check(&mut self, check: &CheckRef, now: UnixMillis) -> Option<Effects> {
        let mut held = self.checks_of(&check.owner)?.iter();
        held.find(|held| held.view.definition.check_id == check.check_id)?;
        self.with_checks(&check.owner, now, |checks| {
            checks.retain(|held| held.check_id != check.check_id);
        })
    }

    fn with_checks(
        &mut self,
        owner: &Owner,
        now: UnixMillis,
        change: impl FnOnce(&mut Vec<Arc<CheckDefinition>>),
    ) -> Option<Effects> {
        match owner {
            Owner::Instance(key) => {
                let mut instance = Instance::clone(&self.records.get(key)?.instance);
                change(&mut instance.checks);
                Some(self.register(instance, now).ok()?.1)
            }
            Owner::Node(name) => {
                let record = self.nodes.get(name)?;
                let mut node = Node::clone(&record.view.node);
                change(&mut node.checks);
                self.register_node(node, now).ok()
            }
        }
    }
}
