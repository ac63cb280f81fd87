//! Page tokens: where a list goes on, sealed with the filter that it belongs to.

use sha2::{Digest as _, Sha256};

use crate::store::Filter;

/// How many bytes of the digest a token carries: enough that no token fits by accident.
const SEAL_BYTES: usize = 8;

/// The place that is before every invoice in the order of lists.
pub(crate) const FIRST: i64 = i64::MAX;

/// The token of a place in the list of `filter`: the place and the seal, in hexadecimal.
pub(crate) fn token(place: i64, filter: &Filter) -> String {
    let place = place.to_be_bytes();
    let bytes = place.into_iter().chain(seal(place, filter));
    bytes.map(|b| format!("{b:02x}")).collect()
}

/// The place that a token stands for; [`FIRST`] for no token, none for one that was not given for
/// this filter.
pub(crate) fn place(token: &str, filter: &Filter) -> Option<i64> {
    if token.is_empty() {
        return Some(FIRST);
    }
    let place = token.get(..16)?;
    let place = i64::try_from(u64::from_str_radix(place, 16).ok()?).ok()?;
    (self::token(place, filter) == token).then_some(place)
}

fn seal(place: [u8; 8], filter: &Filter) -> impl Iterator<Item = u8> {
    let mut digest = Sha256::new();
    digest.update(b"mizan.invoice.v1.ListInvoices");
    digest.update(place);
    digest.update(format!("{:?}", filter.state));
    digest.update([0]);
    digest.update(&filter.reference);
    digest.finalize().into_iter().take(SEAL_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::State;

    fn filter(state: Option<State>, reference: &str) -> Filter {
        Filter {
            state,
            reference: reference.to_owned(),
        }
    }

    #[test]
    fn no_token_is_the_first_page() {
        assert_eq!(place("", &Filter::default()), Some(FIRST));
    }

    #[test]
    fn a_token_of_another_filter_is_refused() {
        let filters = [
            filter(None, ""),
            filter(Some(State::Open), ""),
            filter(Some(State::Paid), ""),
            filter(None, "a"),
            filter(Some(State::Open), "a"),
        ];
        for (i, given) in filters.iter().enumerate() {
            for (j, asked) in filters.iter().enumerate() {
                let read = place(&token(7, given), asked);
                assert_eq!(read, (i == j).then_some(7), "{given:?} {asked:?}");
            }
        }
    }

    #[test]
    fn a_token_that_was_tampered_with_is_refused() {
        let good = token(7, &Filter::default());
        assert_eq!(place(&good.replacen('0', "1", 1), &Filter::default()), None);
        assert_eq!(place(&good.to_uppercase(), &Filter::default()), None);
        assert_eq!(place(&format!("{good}0"), &Filter::default()), None);
        assert_eq!(place(&good[..31], &Filter::default()), None);
    }

    proptest! {
        #[test]
        fn a_place_reads_back_as_itself(n in 0..i64::MAX, reference in "\\PC{0,10}") {
            let filter = filter(None, &reference);
            prop_assert_eq!(place(&token(n, &filter), &filter), Some(n));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{1,40}") {
            prop_assert_eq!(place(&text, &Filter::default()), None);
        }
    }
}
