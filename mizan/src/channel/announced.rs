//! A service config that the instances of a service carry in their metadata: who owns a service
//! says once how it is to be called, and its clients follow.

use std::{collections::BTreeMap, sync::Weak};

use tokio::sync::watch;

use super::live::Live;
use crate::{
    discover::{Endpoint, Known},
    service_config::ServiceConfig,
};

/// The key of the metadata whose value is a service config.
pub(super) const KEY: &str = "service_config";

/// Keeps a channel under the config that its instances carry, or under its own while none does,
/// until the channel is gone. One that is not valid changes nothing (gRFC A21).
pub(super) async fn follow(
    channel: Weak<Live>,
    mut known: watch::Receiver<Known>,
    own: ServiceConfig,
) {
    let mut in_force = None;
    loop {
        let carried = match &*known.borrow_and_update() {
            Known::Instances(instances) if !instances.is_empty() => carried(instances),
            // What was known stays; nobody says nothing.
            Known::Instances(_) | Known::Unknown | Known::Unreachable(_) => in_force.clone(),
        };
        if carried != in_force {
            let Some(channel) = channel.upgrade() else {
                return;
            };
            let read = carried
                .as_deref()
                .map_or_else(|| Ok(own.clone()), ServiceConfig::parse);
            match read {
                Ok(config) => channel.apply(&config),
                Err(error) => {
                    tracing::warn!(service = channel.service(), %error, "the instances' config is not used");
                }
            }
            in_force = carried;
        }
        if known.changed().await.is_err() {
            return;
        }
    }
}

/// The config that most of those carry which carry one; of equally many the first as a text, so
/// that every client decides alike. While a new version is rolled out it changes once.
fn carried(instances: &[Endpoint]) -> Option<String> {
    let mut votes = BTreeMap::<&str, usize>::new();
    for text in instances.iter().filter_map(|i| i.metadata().get(KEY)) {
        *votes.entry(text).or_default() += 1;
    }
    let most = votes.values().copied().max()?;
    let first = votes.into_iter().find(|(_, votes)| *votes == most);
    first.map(|(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_instances_decide_and_everybody_alike() {
        let instances = |texts: &[&str]| -> Vec<Endpoint> {
            let instance = |(port, text): (usize, &&str)| {
                let metadata = (!text.is_empty()).then(|| (KEY.to_owned(), (*text).to_owned()));
                let endpoint = Endpoint::new(format!("a:{}", port + 1)).unwrap();
                endpoint.with_metadata(metadata.into_iter().collect())
            };
            texts.iter().enumerate().map(instance).collect()
        };
        let decided = |texts| carried(&instances(texts));
        assert_eq!(decided(&[]), None);
        assert_eq!(decided(&["", ""]), None);
        assert_eq!(decided(&["", "{}", ""]).as_deref(), Some("{}"));
        assert_eq!(decided(&["a", "b", "b"]).as_deref(), Some("b"));
        assert_eq!(decided(&["b", "a"]), decided(&["a", "b"]));
    }
}
