//! Lists that a caller narrows: made source by source, so that making one can pause, and end early.
//!
//! ```text
//!   sources ─► narrow ─► shape ─► judge ─► kept
//!              tags       what is written   the filter
//! ```
//!
//! Pure: who makes a list, on which thread and how long, is decided in `turns`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use super::filter::{Filter, Judge, Stop, Work, Wrong};
use crate::catalogue::{CheckView, Entry, NodeView};

/// What shaping and writing costs, in units of [`Work`], beside the bytes.
const SHAPE: u64 = 1_500;

/// Something that answers are made from.
pub(super) trait Source {
    /// Its node, and its tags.
    fn parts(&self) -> (&NodeView, &[String]);

    /// About how many bytes it has in an answer.
    fn bytes(&self) -> u64;
}

impl Source for Arc<Entry> {
    fn parts(&self) -> (&NodeView, &[String]) {
        (&self.node, &self.instance.tags)
    }

    /// With its checks, each of which repeats its tags, and those of its node.
    fn bytes(&self) -> u64 {
        let instance = &self.instance;
        let metadata = units(instance.metadata.bytes());
        let tags = texts(&instance.tags);
        metadata
            + tags
            + checks(&self.checks, tags)
            + checks(&self.node.checks, 0)
            + self.node.bytes()
    }
}

impl Source for Arc<NodeView> {
    fn parts(&self) -> (&NodeView, &[String]) {
        (self, &[])
    }

    fn bytes(&self) -> u64 {
        NodeView::bytes(self)
    }
}

impl NodeView {
    fn bytes(&self) -> u64 {
        let pairs = self.node.metadata.iter();
        pairs
            .map(|(key, value)| units(key.len() + value.len()))
            .sum()
    }
}

/// Whose checks are listed: those of a node itself, or of an instance.
#[derive(Debug)]
pub(super) enum Checked {
    Node(Arc<NodeView>),
    Instance(Arc<Entry>),
}

impl Source for Checked {
    fn parts(&self) -> (&NodeView, &[String]) {
        match self {
            Self::Node(node) => node.parts(),
            Self::Instance(entry) => entry.parts(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Node(node) => checks(&node.checks, 0),
            Self::Instance(entry) => checks(&entry.checks, texts(&entry.instance.tags)),
        }
    }
}

fn texts(texts: &[String]) -> u64 {
    texts.iter().map(|text| units(text.len())).sum()
}

/// Checks in an answer, each with this much beside what it says itself. Flapping and maintenance
/// are told as two more.
fn checks(checks: &[Arc<CheckView>], beside: u64) -> u64 {
    let says = checks.iter().map(|check| {
        let definition = &check.definition;
        let words = definition.check_id.len() + definition.name.len() + definition.notes.len();
        units(words + check.output.len()).saturating_add(SHAPE / 2)
    });
    let each = units(checks.len()).saturating_add(2);
    says.sum::<u64>()
        .saturating_add(each.saturating_mul(beside))
}

fn units(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What a query asks for beside its filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Narrow {
    /// Tags that an instance must all have, in any case (Consul's rule).
    pub(super) tags: Vec<String>,
    /// Pairs that its node must all have.
    pub(super) node_meta: Vec<(String, String)>,
}

impl Narrow {
    fn tests(&self) -> usize {
        self.tags.len() + self.node_meta.len()
    }

    fn keeps(&self, source: &impl Source) -> bool {
        let (node, tags) = source.parts();
        let held = &node.node.metadata;
        let mut pairs = self.node_meta.iter();
        pairs.all(|(key, value)| held.get(key) == Some(value))
            && self
                .tags
                .iter()
                .all(|wanted| tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
    }
}

/// What one source costs, with everything that is asked about it: never less than what it does
/// cost, patterns left out.
fn cost(source: &impl Source, tests: usize) -> u64 {
    let each = source.bytes().saturating_add(SHAPE);
    each.saturating_mul(units(tests).saturating_add(1))
}

/// Whether all of it costs less than this. Looks at no more sources than it has to.
pub(super) fn is_cheap<S: Source>(
    sources: &[S],
    narrow: &Narrow,
    filter: &Filter,
    most: u64,
) -> bool {
    if filter.has_patterns() {
        return false;
    }
    let tests = narrow.tests().saturating_add(filter.tests());
    let mut left = Some(most);
    sources.iter().all(|source| {
        left = left.and_then(|left| left.checked_sub(cost(source, tests)));
        left.is_some()
    })
}

/// What an answer's parts are made of: one source may have several, as a node has checks.
pub(super) type Shape<S, A> = Box<dyn Fn(&S, &mut Vec<A>) + Send>;

/// A list without a filter, which is shaped part by part as it is written: large ones are then held
/// once and not twice.
pub(super) struct Whole<S, A> {
    sources: Vec<S>,
    narrow: Narrow,
    shape: Shape<S, A>,
}

impl<S, A> Whole<S, A> {
    /// Nothing of it is shaped yet.
    pub(super) fn new(sources: Vec<S>, narrow: Narrow, shape: Shape<S, A>) -> Self {
        Self {
            sources,
            narrow,
            shape,
        }
    }
}

impl<S: Source, A: Serialize> Serialize for Whole<S, A> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let mut written = serializer.serialize_seq(None)?;
        let mut fresh = Vec::new();
        for source in self.sources.iter().filter(|one| self.narrow.keeps(*one)) {
            (self.shape)(source, &mut fresh);
            for part in fresh.drain(..) {
                written.serialize_element(&part)?;
            }
        }
        written.end()
    }
}

/// A list that is being made.
pub(super) struct List<S, A> {
    sources: std::vec::IntoIter<S>,
    narrow: Narrow,
    shape: Shape<S, A>,
    judge: Judge,
    fresh: Vec<A>,
    kept: Vec<A>,
    kept_cost: u64,
    work: Work,
}

impl<S: Source, A: Serialize> List<S, A> {
    /// Nothing of it is made yet.
    pub(super) fn new(
        sources: Vec<S>,
        narrow: Narrow,
        shape: Shape<S, A>,
        filter: Filter,
        work: Work,
    ) -> Self {
        Self {
            sources: sources.into_iter(),
            narrow,
            shape,
            judge: filter.into(),
            fresh: Vec::new(),
            kept: Vec::new(),
            kept_cost: 0,
            work,
        }
    }

    /// Begins, and does no more than this; answers whether it is complete. Nothing at all is done
    /// when the first step is too large.
    pub(super) fn begin(&mut self, most: u64) -> Result<bool, Wrong> {
        self.work.pause_after(most);
        let done = self.turn(most);
        self.work.pause_after(u64::MAX);
        done
    }

    /// Goes on until it is complete, or until about this much was done; answers whether it is
    /// complete. Each turn does something, and no turn more than one step beyond its bound: one
    /// source, or one pattern to compile.
    pub(super) fn turn(&mut self, most: u64) -> Result<bool, Wrong> {
        match self.steps(self.work.used().saturating_add(most)) {
            Ok(done) => Ok(done),
            Err(Stop::Pause) => Ok(false),
            Err(Stop::Wrong(why)) => Err(why),
        }
    }

    fn steps(&mut self, end: u64) -> Result<bool, Stop> {
        while self.judge.prepare(&mut self.work)? {
            if self.work.used() >= end {
                return Ok(false);
            }
        }
        while self.step()? {
            if self.work.used() >= end {
                return Ok(self.sources.as_slice().is_empty());
            }
        }
        Ok(true)
    }

    /// Takes the next source; answers whether there was one. One that is paused at is taken again.
    fn step(&mut self) -> Result<bool, Stop> {
        let Some(source) = self.sources.as_slice().first() else {
            return Ok(false);
        };
        let kept = self.kept.len();
        self.work.note(cost(source, self.narrow.tests()))?;
        if self.narrow.keeps(source) {
            self.fresh.clear();
            (self.shape)(source, &mut self.fresh);
            if self.judge.is_empty() {
                self.kept.append(&mut self.fresh);
            } else if let Err(why) = self.judged() {
                self.kept.truncate(kept);
                return Err(why);
            }
        }
        if self.kept.len() > kept
            && let Some(source) = self.sources.as_slice().first()
        {
            self.kept_cost = self.kept_cost.saturating_add(cost(source, 0));
        }
        self.sources.next();
        Ok(true)
    }

    fn judged(&mut self) -> Result<(), Stop> {
        for shape in self.fresh.drain(..) {
            // The filter looks at an answer as it would be written.
            let written = serde_json::to_value(&shape)
                .map_err(|why| Wrong::Expression(format!("an answer cannot be written: {why}")))?;
            if self.judge.keeps(&written, &mut self.work)? {
                self.kept.push(shape);
            }
        }
        Ok(())
    }

    /// What was kept, with about what it costs to write.
    pub(super) fn kept(self) -> (Vec<A>, u64) {
        (self.kept, self.kept_cost)
    }
}
