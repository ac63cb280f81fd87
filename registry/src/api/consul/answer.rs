//! From what is asked to a list that is answered.

use std::{sync::Arc, time::Instant};

use axum::body::Body;
use http::Response;
use serde::Serialize;

use super::{
    Consul,
    blocking::Head,
    filter::{Filter, Selectors, Work, Wrong},
    list::{List, Narrow, Shape, Source, Whole, is_cheap},
    query::Query,
    refusal::Refusal,
    turns::{INLINE_MAX, refuse},
};
use crate::{catalogue::NodeView, metrics::FilterEnd};

/// A filter that is known to be one. It holds nothing but its text, so that queries that wait cost
/// no more than that, and is read again when it is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sieve<'q> {
    text: &'q str,
    selectors: Selectors,
}

impl Sieve<'_> {
    fn read(self) -> Result<Filter, Wrong> {
        Filter::parse(self.text, self.selectors)
    }

    /// Whether it keeps everything.
    pub(super) fn is_empty(self) -> bool {
        self.text.trim().is_empty()
    }
}

impl Consul {
    /// The filter of a query; one that keeps everything when there is none. Before a query waits,
    /// its patterns are compiled once, so that nobody waits for minutes to learn that one is wrong.
    pub(super) async fn filter<'q>(
        &self,
        query: &'q Query,
        selectors: Selectors,
    ) -> Result<Sieve<'q>, Refusal> {
        let text = query.get("filter").unwrap_or_default();
        let sieve = Sieve { text, selectors };
        if sieve.is_empty() {
            return Ok(sieve);
        }
        let mut filtering = self.registry.metrics().filtering();
        let filter = sieve.read().map_err(|why| refuse(&mut filtering, why))?;
        filtering.forget();
        if filter.has_patterns() && query.index()?.is_some() {
            self.compile(filter).await?;
        }
        Ok(sieve)
    }

    /// Compiles the patterns of a filter, and no more.
    async fn compile(&self, filter: Filter) -> Result<(), Refusal> {
        let mut filtering = self.registry.metrics().filtering();
        let shape: Shape<Arc<NodeView>, ()> = Box::new(|_, _| ());
        let list = List::new(
            Vec::new(),
            Narrow::default(),
            shape,
            filter,
            Work::default(),
        );
        self.turns.filter(&mut filtering, || Ok(list)).await?;
        filtering.forget();
        Ok(())
    }

    /// Answers with a list of what is kept of what the sources are shaped into. They are asked for
    /// when it is their turn: that may be later than now.
    pub(super) async fn list<S, A>(
        &self,
        head: Head,
        asked: (Sieve<'_>, Narrow),
        sources: impl Fn() -> Vec<S> + Send,
        shape: Shape<S, A>,
    ) -> Result<Response<Body>, Refusal>
    where
        S: Source + Send + 'static,
        A: Serialize + Send + 'static,
    {
        let (sieve, narrow) = asked;
        if !sieve.is_empty() {
            return self
                .arranged(head, (sieve, narrow), sources, shape, |kept| kept)
                .await;
        }
        let found = sources();
        if is_cheap(&found, &narrow, &Filter::default(), INLINE_MAX) {
            return head.write(&Whole::new(found, narrow, shape));
        }
        drop(found);
        let begin = || Whole::new(sources(), narrow, shape);
        let write = move |whole| head.write(&whole);
        self.turns.plain(begin, write).await?
    }

    /// The same, in another arrangement than a list.
    pub(super) async fn arranged<S, A, T>(
        &self,
        head: Head,
        (sieve, narrow): (Sieve<'_>, Narrow),
        sources: impl Fn() -> Vec<S> + Send,
        shape: Shape<S, A>,
        arrange: impl FnOnce(Vec<A>) -> T + Send + 'static,
    ) -> Result<Response<Body>, Refusal>
    where
        S: Source + Send + 'static,
        A: Serialize + Send + 'static,
        T: Serialize,
    {
        let (kept, cost) = if sieve.is_empty() {
            self.unfiltered(narrow, sources, shape).await?
        } else {
            self.filtered(sieve, narrow, sources, shape).await?
        };
        if cost <= INLINE_MAX {
            return head.write(&arrange(kept));
        }
        let write = move |kept| head.write(&arrange(kept));
        self.turns.plain(|| kept, write).await?
    }

    async fn unfiltered<S, A>(
        &self,
        narrow: Narrow,
        sources: impl Fn() -> Vec<S> + Send,
        shape: Shape<S, A>,
    ) -> Result<(Vec<A>, u64), Refusal>
    where
        S: Source + Send + 'static,
        A: Serialize + Send + 'static,
    {
        let make = |mut list: List<S, A>| list.turn(u64::MAX).map(|_| list.kept());
        let found = sources();
        let cheap = is_cheap(&found, &narrow, &Filter::default(), INLINE_MAX);
        let begin = |found| List::new(found, narrow, shape, Filter::default(), Work::default());
        let made = if cheap {
            make(begin(found))
        } else {
            drop(found);
            self.turns.plain(|| begin(sources()), make).await?
        };
        Ok(made?)
    }

    async fn filtered<S, A>(
        &self,
        sieve: Sieve<'_>,
        narrow: Narrow,
        sources: impl Fn() -> Vec<S> + Send,
        shape: Shape<S, A>,
    ) -> Result<(Vec<A>, u64), Refusal>
    where
        S: Source + Send + 'static,
        A: Serialize + Send + 'static,
    {
        let mut filtering = self.registry.metrics().filtering();
        let filter = sieve.read().map_err(|why| refuse(&mut filtering, why))?;
        let found = sources();
        if is_cheap(&found, &narrow, &filter, INLINE_MAX) {
            let began = Instant::now();
            let mut list = List::new(found, narrow, shape, filter, Work::default());
            let done = list.turn(u64::MAX);
            filtering.ran(began.elapsed());
            done.map_err(|why| refuse(&mut filtering, why))?;
            filtering.end(FilterEnd::Answered);
            return Ok(list.kept());
        }
        drop((found, filter));
        let begin = || {
            let filter = sieve.read()?;
            Ok(List::new(sources(), narrow, shape, filter, Work::default()))
        };
        self.turns.filter(&mut filtering, begin).await
    }
}
