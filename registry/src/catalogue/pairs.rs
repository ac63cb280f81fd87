//! Pairs of texts, in little memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

/// Free pairs, by key, each key once. As large as what they say: a map has room for eleven pairs as
/// soon as it has one, half a kilobyte for every instance that says one thing of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
pub(crate) struct Pairs(Box<[(Box<str>, Box<str>)]>);

impl Pairs {
    /// What is said under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let place = self.0.binary_search_by(|(held, _)| (**held).cmp(key));
        self.0.get(place.ok()?).map(|(_, value)| &**value)
    }

    /// How many bytes all of them have together.
    pub(crate) fn bytes(&self) -> usize {
        let pairs = self.0.iter();
        pairs.map(|(key, value)| key.len() + value.len()).sum()
    }

    /// As a map, for an answer.
    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        let pairs = self.0.iter();
        pairs
            .map(|(key, value)| (String::from(&**key), String::from(&**value)))
            .collect()
    }
}

impl From<BTreeMap<String, String>> for Pairs {
    fn from(map: BTreeMap<String, String>) -> Self {
        let pairs = map.into_iter();
        Self(
            pairs
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_say_what_the_map_says(map: BTreeMap<String, String>, other: String) {
            let pairs = Pairs::from(map.clone());
            prop_assert_eq!(&pairs.to_map(), &map);
            let bytes = map.iter().map(|(key, value)| key.len() + value.len());
            prop_assert_eq!(pairs.bytes(), bytes.sum::<usize>());
            prop_assert_eq!(pairs.get(&other), map.get(&other).map(|value| &**value));
            for (key, value) in &map {
                prop_assert_eq!(pairs.get(key), Some(&**value));
            }
            let written = serde_json::to_string(&pairs).unwrap();
            prop_assert_eq!(&written, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(serde_json::from_str::<Pairs>(&written).unwrap(), pairs);
        }
    }
}
