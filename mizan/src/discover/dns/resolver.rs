//! Asking DNS.

use std::{future::Future, net::IpAddr, pin::Pin, time::Duration};

use hickory_resolver::{
    ResolverBuilder, TokioResolver,
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};

use super::state::{Failure, Looked, Records, Service};

/// The answer to one question.
pub(super) type Asking<'a, T> = Pin<Box<dyn Future<Output = Looked<T>> + Send + 'a>>;

/// Who answers.
pub(super) trait Resolve: Send + Sync + 'static {
    /// The A records of a name.
    fn v4<'a>(&'a self, name: &'a str) -> Asking<'a, IpAddr>;
    /// The AAAA records of a name.
    fn v6<'a>(&'a self, name: &'a str) -> Asking<'a, IpAddr>;
    /// The SRV records of a name.
    fn services<'a>(&'a self, name: &'a str) -> Asking<'a, Service>;
}

/// The servers, search domains and hosts file that this system is set to.
pub(super) struct System {
    resolver: TokioResolver,
}

impl System {
    /// By the settings as they are now.
    pub(super) fn read() -> Result<Self, Failure> {
        Self::by(TokioResolver::builder_tokio().map_err(failure)?)
    }

    /// By these settings.
    pub(super) fn by(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<Self, Failure> {
        // When to ask again is decided here, not there.
        builder.options_mut().cache_size = 0;
        let resolver = builder.build().map_err(failure)?;
        Ok(Self { resolver })
    }

    fn look<'a, T: 'a>(
        &'a self,
        name: &'a str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T> + Send + 'a,
    ) -> Asking<'a, T> {
        Box::pin(async move {
            match self.resolver.lookup(name, kind).await {
                Ok(lookup) => Ok(Records {
                    records: records(&lookup, read),
                    ttl: ttl(&lookup),
                }),
                // The name is there, and has no such record.
                Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok(Records {
                    records: Vec::new(),
                    ttl: None,
                }),
                Err(error) => Err(failure(error)),
            }
        })
    }
}

impl Resolve for System {
    fn v4<'a>(&'a self, name: &'a str) -> Asking<'a, IpAddr> {
        self.look(name, RecordType::A, |data| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            _ => None,
        })
    }

    fn v6<'a>(&'a self, name: &'a str) -> Asking<'a, IpAddr> {
        self.look(name, RecordType::AAAA, |data| match data {
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
    }

    fn services<'a>(&'a self, name: &'a str) -> Asking<'a, Service> {
        self.look(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        })
    }
}

fn records<T>(lookup: &Lookup, read: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    let answers = lookup.answers().iter();
    answers.filter_map(|record| read(&record.data)).collect()
}

/// The shortest of the answer, aliases on the way included.
fn ttl(lookup: &Lookup) -> Option<Duration> {
    let shortest = lookup.answers().iter().map(|record| record.ttl).min()?;
    Some(Duration::from_secs(u64::from(shortest)))
}

fn failure(error: NetError) -> Failure {
    Failure(if error.is_nx_domain() {
        "there is no such name".to_owned()
    } else {
        error.to_string()
    })
}
