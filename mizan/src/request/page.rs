//! Pages of a list (AIP-158).

use sha2::{Digest as _, Sha256};

use crate::status::Violations;

/// How many bytes of the digest a token carries: enough to tell an honest mistake, which is all
/// that it is for. A forged token shows nothing that the list would not.
const SEAL_BYTES: usize = 8;

/// How many elements to return: 0 means `default`, more than `max` means `max`, and a negative
/// number is refused.
pub fn page_size(asked: i32, default: u32, max: u32, violations: &mut Violations) -> u32 {
    match u32::try_from(asked) {
        Ok(0) => default,
        Ok(size) => size.min(max),
        Err(_) => {
            violations.add("page_size", "is negative");
            default
        }
    }
}

/// Writes and reads the opaque tokens of one list: a place, sealed with the list's name and
/// filters, so that a token cannot be used with others than it was given for.
#[derive(Debug, Clone, Copy)]
pub struct PageToken<'a> {
    list: &'a str,
    filters: &'a [&'a str],
}

impl<'a> PageToken<'a> {
    /// The tokens of `list`, such as `mizan.invoice.v1.ListInvoices`, with these filters.
    #[must_use]
    pub const fn of(list: &'a str, filters: &'a [&'a str]) -> Self {
        Self { list, filters }
    }

    /// The token of a place.
    #[must_use]
    pub fn write(&self, place: i64) -> String {
        let place = place.to_be_bytes();
        let bytes = place.into_iter().chain(self.seal(place));
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The place of a token, `None` for the empty one. Notes a violation of `page_token` for one
    /// that was not given for this list and these filters.
    pub fn read(&self, token: &str, violations: &mut Violations) -> Option<i64> {
        if token.is_empty() {
            return None;
        }
        let place = token
            .get(..16)
            .and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let place = place.map(|bits| i64::from_be_bytes(bits.to_be_bytes()));
        // Written again and compared: there is one spelling of each token.
        let genuine = place.filter(|place| self.write(*place) == token);
        violations.require(
            genuine.is_some(),
            "page_token",
            "is not a token of this list with these filters",
        );
        genuine
    }

    fn seal(&self, place: [u8; 8]) -> impl Iterator<Item = u8> {
        let mut digest = Sha256::new().chain_update(self.list).chain_update(place);
        for filter in self.filters {
            // Ended by a byte that UTF-8 does not have.
            digest.update(filter);
            digest.update([0xff]);
        }
        digest.finalize().into_iter().take(SEAL_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(token: &str, filters: &[&str]) -> Result<Option<i64>, ()> {
        let mut violations = Violations::new();
        let place = PageToken::of("list", filters).read(token, &mut violations);
        violations.check().map(|()| place).map_err(|_| ())
    }

    #[test]
    fn sizes_have_a_default_and_a_limit() {
        let mut violations = Violations::new();
        assert_eq!(page_size(0, 50, 1000, &mut violations), 50);
        assert_eq!(page_size(7, 50, 1000, &mut violations), 7);
        assert_eq!(page_size(5000, 50, 1000, &mut violations), 1000);
        page_size(-1, 50, 1000, &mut violations);
        assert_eq!(
            violations.check().unwrap_err().message(),
            "page_size is negative"
        );
    }

    #[test]
    fn a_token_is_good_for_its_own_list_only() {
        let filters = ["cash", "march"];
        let token = PageToken::of("list", &filters).write(7);
        assert_eq!(read(&token, &filters), Ok(Some(7)));
        assert_eq!(read("", &filters), Ok(None));
        for other in [&["cash", ""][..], &["", "march"], &["cashmarch", ""], &[]] {
            assert_eq!(read(&token, other), Err(()), "{other:?}");
        }
        assert!(PageToken::of("other", &filters).write(7) != token);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let token = PageToken::of("list", &[]).write(7);
        let longer = format!("{token}0");
        let other_place = token.replacen('7', "8", 1);
        let upper = PageToken::of("list", &[]).write(i64::MAX).to_uppercase();
        for bad in [
            "0",
            "zz",
            &token[..31],
            &longer,
            &other_place,
            &upper,
            "éééééééééééé",
        ] {
            assert_eq!(read(bad, &[]), Err(()), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_place_reads_back_as_itself(place in any::<i64>(), filter in "\\PC{0,10}") {
            let filters = [filter.as_str()];
            prop_assert_eq!(read(&PageToken::of("list", &filters).write(place), &filters), Ok(Some(place)));
        }
    }
}
