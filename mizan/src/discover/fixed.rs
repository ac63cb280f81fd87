//! A list that never changes.

use super::{Discover, Discovering, Endpoint, InvalidAuthority, Updates, distinct};

/// These instances and no others. An authority that is named twice is one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fixed {
    endpoints: Vec<Endpoint>,
}

impl Fixed {
    /// Instances at these authorities, each a HOST:PORT, all of weight 1.
    ///
    /// # Errors
    /// [`InvalidAuthority`], which names the first malformed one.
    pub fn new<A: Into<String>>(
        authorities: impl IntoIterator<Item = A>,
    ) -> Result<Self, InvalidAuthority> {
        let endpoints = authorities.into_iter().map(Endpoint::new);
        Ok(Self::of(endpoints.collect::<Result<_, _>>()?))
    }

    /// Instances with weights or zones.
    #[must_use]
    pub fn of(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints: distinct(endpoints),
        }
    }
}

impl Discover for Fixed {
    fn discover(self: Box<Self>, _service: String, updates: Updates) -> Discovering {
        Box::pin(async move { updates.settle(self.endpoints) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::discover::{self, Known, SourceState};

    #[test]
    fn a_malformed_authority_is_refused_and_named() {
        let refused = Fixed::new(["a:1", "b", "c:1"]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "\"b\" is not a HOST:PORT: there is no port"
        );
        assert_eq!(
            Fixed::new(["a:1", "b:1", "a:1"]).unwrap(),
            Fixed::new(["a:1", "b:1"]).unwrap()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_list_never_grows_old() {
        let fixed = Fixed::new(["a:1"]).unwrap();
        let discovery = discover::start("s", Box::new(fixed));
        let mut known = discovery.known();
        known.changed().await.unwrap();
        let expected = Known::Instances(vec![Endpoint::new("a:1").unwrap()]);
        assert_eq!(*known.borrow(), expected);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let status = discovery.status();
        assert_eq!(status.state, SourceState::Settled);
        assert_eq!(status.age, Some(Duration::ZERO));
    }
}
