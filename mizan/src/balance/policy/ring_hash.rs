//! Ring hash: the same key goes to the same instance (gRFC A42, A76).

use std::fmt::Write as _;
use std::hash::Hasher as _;

use http::{HeaderMap, HeaderName};
use twox_hash::XxHash64;

use super::{Call, Candidate, Picker, Policy};

/// Calls with the same key go to the same instance, and stay there when others come and go: of n
/// instances, one that leaves moves only the keys it had.
///
/// Every instance stands at many places of a ring of hashes (XXH64, seed 0, of `HOST:PORT_i` for i
/// from 0, as in Envoy and gRPC), in proportion to its weight; a call goes to the next usable
/// instance clockwise from its key's hash. A call without a key goes anywhere.
#[derive(Debug, Clone)]
pub struct RingHash {
    size_min: u64,
    size_max: u64,
    header: Option<HeaderName>,
}

/// gRFC A42: a ring of 4096 is the largest that a service config gets.
pub(super) const SIZE_CAP: u64 = 4096;

/// gRFC A42: larger sizes are refused.
pub(super) const SIZE_LIMIT: u64 = 8 * 1024 * 1024;

impl Default for RingHash {
    /// 1024 to 4096 places (gRFC A42): a few hundred places an instance keep the shares of up to
    /// ten instances within some percent of each other.
    fn default() -> Self {
        Self {
            size_min: 1024,
            size_max: SIZE_CAP,
            header: None,
        }
    }
}

impl RingHash {
    /// A ring of at least `min` places, more if the lightest instance needs them for a whole number
    /// of places, and at most `max`. Only if there are more instances than that does it grow
    /// further: everyone has a place.
    ///
    /// # Errors
    /// When `min` is 0, greater than `max`, or `max` is over 8 Mi.
    pub fn sized(mut self, min: u64, max: u64) -> Result<Self, String> {
        if min == 0 || min > max {
            return Err(format!("a ring of at least {min} and at most {max} places"));
        }
        if max > SIZE_LIMIT {
            return Err(format!("a ring of {max} places: at most {SIZE_LIMIT}"));
        }
        self.size_min = min;
        self.size_max = max;
        Ok(self)
    }

    /// The header whose value is the key of a call (gRFC A76's `request_hash_header`).
    ///
    /// # Errors
    /// When `name` is no header name or that of a binary header (`-bin`).
    pub fn keyed_by(mut self, name: &str) -> Result<Self, String> {
        let header: HeaderName = name
            .parse()
            .map_err(|_| format!("{name:?} is not a header name"))?;
        if header.as_str().ends_with("-bin") {
            return Err(format!("{name:?} is a binary header"));
        }
        self.header = Some(header);
        Ok(self)
    }
}

/// The hash of a key, for [`Call::hash`]: XXH64 with seed 0 over its bytes, which is what gRPC and
/// Envoy compute, so that their clients send a key where ours do.
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    seeded(0, key)
}

pub(super) fn seeded(seed: u64, bytes: &[u8]) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// The hash of a call whose key is the value of the header `name`; several values are joined by
/// commas. `None` when there is no value or an empty one (gRFC A76), and for a binary header.
#[must_use]
pub fn hash_of_header(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    if name.as_str().ends_with("-bin") {
        return None;
    }
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else {
        return (!first.is_empty()).then(|| hash_key(first.as_bytes()));
    };
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(first.as_bytes());
    for value in std::iter::once(second).chain(values) {
        hasher.write(b",");
        hasher.write(value.as_bytes());
    }
    Some(hasher.finish())
}

impl Policy for RingHash {
    fn picker(&self, candidates: &[Candidate]) -> Box<dyn Picker> {
        let weights: Vec<_> = candidates.iter().map(|c| c.weight).collect();
        let places = places(&weights, self.size_min, self.size_max);
        let mut ring = Vec::new();
        let mut key = String::new();
        for (index, (candidate, places)) in candidates.iter().zip(places).enumerate() {
            for i in 0..places {
                key.clear();
                // Writing to a string does not fail.
                let _ = write!(key, "{}_{i}", candidate.authority);
                ring.push((hash_key(key.as_bytes()), index));
            }
        }
        ring.sort_unstable();
        Box::new(Ring(ring.into_boxed_slice()))
    }

    fn hash_header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }
}

/// How many places each weight gets: the ring is scaled so that the lightest has a whole number of
/// them and all together at least `min`, then clamped to `max`. Fractions are carried over from one
/// to the next.
fn places(weights: &[u32], min: u64, max: u64) -> Vec<u64> {
    let weights: Vec<u128> = weights.iter().map(|w| u128::from((*w).max(1))).collect();
    let total: u128 = weights.iter().sum();
    let Some(lightest) = weights.iter().copied().min() else {
        return Vec::new();
    };
    // The size of the ring is `size / parts`.
    let whole = (u128::from(min) * lightest).div_ceil(total);
    let (mut size, mut parts) = (whole * total, lightest);
    if size > u128::from(max) * parts {
        (size, parts) = (u128::from(max), 1);
    }
    let (mut upto, mut taken) = (0, 0);
    let places = weights.into_iter().map(|weight| {
        upto += weight;
        let target = (size * upto).div_ceil(parts * total);
        let places = target.saturating_sub(taken);
        taken += places;
        u64::try_from(places.max(1)).unwrap_or(max)
    });
    places.collect()
}

/// Hash and index, in the order of the hashes.
#[derive(Debug)]
struct Ring(Box<[(u64, usize)]>);

impl Picker for Ring {
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let hash = call.hash.unwrap_or(call.random);
        let start = self.0.partition_point(|(place, _)| *place < hash);
        let (before, after) = self.0.split_at_checked(start)?;
        let mut refused = usize::MAX;
        for &(_, index) in after.iter().chain(before) {
            if index == refused {
                continue;
            }
            if usable(index) {
                return Some(index);
            }
            refused = index;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::policy::testing::{call, candidates, close, counts};

    fn keyed(key: &str) -> Call {
        Call {
            hash: Some(hash_key(key.as_bytes())),
            ..call(0)
        }
    }

    #[test]
    fn the_hash_is_xxh64_with_seed_0() {
        // The reference values of the xxHash project.
        assert_eq!(hash_key(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(hash_key(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(hash_key(b"abc"), 0x44BC_2CF5_AD77_0999);
    }

    #[test]
    fn header_values_are_joined_by_commas() {
        let name = HeaderName::from_static("x-tenant");
        let mut headers = HeaderMap::new();
        assert_eq!(hash_of_header(&headers, &name), None);
        headers.append(&name, "".parse().unwrap());
        assert_eq!(hash_of_header(&headers, &name), None, "empty is no key");
        headers.insert(&name, "one".parse().unwrap());
        assert_eq!(hash_of_header(&headers, &name), Some(hash_key(b"one")));
        headers.append(&name, "two".parse().unwrap());
        assert_eq!(hash_of_header(&headers, &name), Some(hash_key(b"one,two")));
        let binary = HeaderName::from_static("x-bin");
        headers.insert(&binary, "AAAA".parse().unwrap());
        assert_eq!(hash_of_header(&headers, &binary), None);
    }

    #[test]
    fn rings_have_the_size_that_grfc_a42_gives_them() {
        // 1024 = 341.33 each: 342 each.
        assert_eq!(places(&[1, 1, 1], 1024, 4096), [342, 342, 342]);
        assert_eq!(places(&[7], 1024, 4096), [1024]);
        // The lightest has one place, the others in proportion.
        assert_eq!(places(&[1, 1000, 1000], 1024, 4096), [1, 1000, 1000]);
        // Clamped: the fractions are carried over.
        assert_eq!(places(&[1, 2], 10, 10).iter().sum::<u64>(), 10);
        assert_eq!(places(&[1; 3], 10, 10), [4, 3, 3]);
        assert_eq!(places(&[], 10, 10), [0; 0]);
        // More instances than places: nobody is left out.
        assert!(places(&[1; 100], 10, 10).iter().all(|p| *p == 1));
    }

    #[test]
    fn places_are_hashed_as_in_envoy_and_grpc() {
        let picker = RingHash::default().picker(&candidates(&[1, 1, 1]));
        for instance in 0..3 {
            for i in 0..342 {
                // A hash that meets a place exactly belongs to it.
                let call = keyed(&format!("10.0.0.{instance}:50051_{i}"));
                assert_eq!(picker.pick(&call, &|_| true), Some(instance));
            }
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let picker = RingHash::default().picker(&candidates(&[1, 1, 1]));
        let equal = counts(&*picker, 3, 30_000, &|_| true);
        assert!(close(&equal, &[10_000; 3], 15), "{equal:?}");
        let picker = RingHash::default().picker(&candidates(&[4, 2, 1]));
        let weighted = counts(&*picker, 3, 70_000, &|_| true);
        assert!(
            close(&weighted, &[40_000, 20_000, 10_000], 15),
            "{weighted:?}"
        );
    }

    #[test]
    fn one_that_leaves_moves_only_its_own_keys() {
        let all = candidates(&[1; 5]);
        let before = RingHash::default().picker(&all);
        let after = RingHash::default()
            .sized(1024, 4096)
            .unwrap()
            .picker(&all[..4]);
        let (mut moved, mut stayed) = (0, 0);
        for key in 0..10_000 {
            let call = keyed(&format!("tenant-{key}"));
            let old = before.pick(&call, &|_| true).unwrap();
            // Not usable is the same as gone, while the ring is the same.
            let skipped = before.pick(&call, &|i| i != 4).unwrap();
            if old != 4 {
                assert_eq!(skipped, old);
                let new = after.pick(&call, &|_| true).unwrap();
                if new == old { stayed += 1 } else { moved += 1 }
            }
        }
        // A smaller set makes a ring of other proportions, so a few places come and go.
        assert!(moved * 4 < stayed, "{moved} of {}", moved + stayed);
    }

    #[test]
    fn invalid_rings_are_refused() {
        let ring = RingHash::default;
        assert!(ring().sized(0, 10).is_err());
        assert!(ring().sized(11, 10).is_err());
        assert!(ring().sized(1, SIZE_LIMIT).is_ok());
        assert!(ring().sized(1, SIZE_LIMIT + 1).is_err());
        assert!(ring().keyed_by("X-Tenant").unwrap().hash_header().is_some());
        assert!(ring().keyed_by("x-tenant-bin").is_err());
        assert!(ring().keyed_by("no header").is_err());
    }

    proptest! {
        #[test]
        fn the_same_key_goes_to_the_same_usable_instance(
            weights in prop::collection::vec(1_u32..100, 1..10),
            hash: u64,
            up: [bool; 10],
        ) {
            let picker = RingHash::default().picker(&candidates(&weights));
            let usable = |i: usize| up[i];
            let call = Call { hash: Some(hash), ..call(0) };
            let picked = picker.pick(&call, &usable);
            prop_assert_eq!(picked.is_some(), up.iter().take(weights.len()).any(|u| *u));
            prop_assert!(picked.is_none_or(usable));
            let other = Call { random: 99, ..call };
            prop_assert_eq!(picker.pick(&other, &usable), picked);
        }

        #[test]
        fn a_ring_is_at_least_min_and_at_most_max_or_one_each(
            weights in prop::collection::vec(any::<u32>(), 1..50),
            min in 1_u64..5000,
            more in 0_u64..5000,
        ) {
            let places = places(&weights, min, min + more);
            let sum: u64 = places.iter().sum();
            let count = u64::try_from(weights.len()).unwrap();
            prop_assert!(sum >= min && sum <= min + more + count, "{}", sum);
            prop_assert!(places.iter().all(|p| *p >= 1));
        }
    }
}
