//! Nodes: what instances share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::catalogue::{
    Catalogue, Effects, Full, Key, Node, NodeView, Owner, UnixMillis, check::said,
    state::NodeRecord,
};

impl Catalogue {
    /// Makes a node known or replaces what was known of it, its checks included.
    pub(crate) fn register_node(&mut self, node: Node, now: UnixMillis) -> Result<Effects, Full> {
        if !self.nodes.contains_key(&node.name) && self.nodes.len() >= self.bounds.instances_max {
            return Err(Full {
                instances_max: self.bounds.instances_max,
            });
        }
        let mut effects = Effects::default();
        let owner = Owner::Node(node.name.clone());
        self.know_node(&node.name, &mut effects);
        let (name, node) = (node.name.clone(), Arc::new(node));
        let Some(record) = self.nodes.get_mut(&name) else {
            return Ok(effects);
        };
        if record.view.node != node || !record.explicit {
            effects.stale.push(owner.clone());
        }
        record.explicit = true;
        let moved = record.view.node.address != node.address;
        if !record.view.node.same_for_instances(&node) {
            // Checks are also asked for by their node's metadata.
            let checks = record.view.node.metadata != node.metadata;
            let view = Arc::make_mut(&mut record.view);
            view.node = Arc::clone(&node);
            view.modify_revision = self.indexes.newest + 1;
            self.node_changed(checks);
        } else if record.view.node != node {
            Arc::make_mut(&mut record.view).node = Arc::clone(&node);
        }
        self.replace_checks(&owner, &node.checks, true, now, &mut effects);
        self.start(&owner, &mut effects);
        if moved {
            self.restart_on(&name, &mut effects);
        }
        self.changed(&owner, now, &mut effects);
        Ok(effects)
    }

    /// Removes a node with all its instances; nothing when it is not known.
    pub(crate) fn deregister_node(&mut self, name: &str, now: UnixMillis) -> Option<Effects> {
        let record = self.nodes.get_mut(name)?;
        record.explicit = true;
        let mut effects = Effects::default();
        for id in record.instances.clone() {
            self.remove(&Key::new(name, id), now, &mut effects);
        }
        let record = self.nodes.remove(name)?;
        let owner = Owner::Node(name.to_owned());
        for check in &record.checks {
            self.unlink(&owner, &check.view.definition, &mut effects);
        }
        self.node_changed(true);
        self.mirror(&owner, now, &mut effects);
        effects.stale.push(owner);
        Some(effects)
    }

    /// Puts an instance on its node, which becomes known if it was not.
    pub(super) fn ensure_node(&mut self, key: &Key, effects: &mut Effects) {
        self.know_node(&key.node, effects);
        if let Some(node) = self.nodes.get_mut(&key.node)
            && !node.instances.contains(&key.id)
        {
            node.instances.insert(key.id.clone());
        }
    }

    /// A node came, went or is another one now, which shows wherever nodes or what is on them are
    /// read. `checks`: and where checks are, of which every node has one.
    fn node_changed(&mut self, checks: bool) {
        self.indexes.newest += 1;
        self.indexes.nodes = self.indexes.newest;
        self.indexes.registrations = self.indexes.newest;
        if checks {
            self.indexes.checks = self.indexes.newest;
        }
    }

    fn know_node(&mut self, name: &str, effects: &mut Effects) {
        if self.nodes.contains_key(name) {
            return;
        }
        self.node_changed(true);
        let node = Node {
            name: name.to_owned(),
            ..Node::default()
        };
        let view = NodeView {
            node: Arc::new(node),
            checks: Vec::new(),
            maintenance: None,
            create_revision: self.indexes.newest,
            modify_revision: self.indexes.newest,
        };
        let record = NodeRecord {
            view: Arc::new(view),
            checks: Vec::new(),
            instances: BTreeSet::new(),
            explicit: false,
            taken_out: BTreeMap::new(),
        };
        self.nodes.insert(name.to_owned(), record);
        effects.stale.push(Owner::Node(name.to_owned()));
    }

    /// Takes an instance off its node, which goes with its last one unless somebody registered it
    /// or said something about it.
    pub(super) fn leave_node(&mut self, key: &Key, effects: &mut Effects) {
        let Some(node) = self.nodes.get_mut(&key.node) else {
            return;
        };
        node.instances.remove(&key.id);
        let said = node.view.maintenance.is_some() || !node.taken_out.is_empty();
        if node.instances.is_empty() && !node.explicit && !said {
            self.nodes.remove(&key.node);
            self.node_changed(true);
            effects.stale.push(Owner::Node(key.node.clone()));
        }
    }

    /// Renders a node and every instance on it.
    pub(super) fn render_node(&mut self, name: &str, now: UnixMillis, effects: &mut Effects) {
        let Some(record) = self.nodes.get_mut(name) else {
            return;
        };
        let checks: Vec<_> = record.checks.iter().map(|c| Arc::clone(&c.view)).collect();
        if record.view.checks != checks {
            if said(&record.view.checks) != said(&checks) {
                self.indexes.newest += 1;
                self.indexes.checks = self.indexes.newest;
                effects.stale.push(Owner::Node(name.to_owned()));
            }
            Arc::make_mut(&mut record.view).checks = checks;
        }
        for id in record.instances.clone() {
            self.render(&Key::new(name, id), now, effects);
        }
    }

    /// Runs the checks anew of instances that are where their node is.
    fn restart_on(&mut self, name: &str, effects: &mut Effects) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        for id in node.instances.clone() {
            let key = Key::new(name, id);
            let Some(record) = self.records.get_mut(&key) else {
                continue;
            };
            if record.instance.address.is_empty() {
                for check in &mut record.checks {
                    check.epoch = 0;
                }
                self.start(&Owner::Instance(key), effects);
            }
        }
    }
}
