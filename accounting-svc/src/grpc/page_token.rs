//! Page tokens: the place in the journal that a list goes on from, bound to the list's filters.

use sha2::{Digest as _, Sha256};

/// How many bytes of the digest a token carries: enough to tell an honest mistake, which is all
/// that it is for. A forged token shows nothing that a list would not.
const SEAL_BYTES: usize = 8;

/// A token that is not one, or belongs to a list with other filters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign;

pub(super) fn write(after: i64, account_id: &str, reference: &str) -> String {
    let place = after.to_be_bytes();
    let seal = seal(place, account_id, reference);
    hex(place.iter().chain(&seal))
}

pub(super) fn read(token: &str, account_id: &str, reference: &str) -> Result<i64, Foreign> {
    let place = token.get(..16).ok_or(Foreign)?;
    let place = u64::from_str_radix(place, 16).map_err(|_| Foreign)?;
    let after = i64::from_be_bytes(place.to_be_bytes());
    // Written again and compared: there is one spelling of each token.
    if write(after, account_id, reference) == token {
        Ok(after)
    } else {
        Err(Foreign)
    }
}

fn seal(place: [u8; 8], account_id: &str, reference: &str) -> [u8; SEAL_BYTES] {
    // The filters are ended by a byte that UTF-8 does not have.
    let digest = Sha256::new()
        .chain_update("mizan.accounting.v1.ListTransactions")
        .chain_update(place)
        .chain_update(account_id)
        .chain_update([0xff])
        .chain_update(reference)
        .finalize();
    let mut seal = [0; SEAL_BYTES];
    seal.copy_from_slice(&digest[..SEAL_BYTES]);
    seal
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_list_only() {
        let token = write(7, "cash", "march");
        assert_eq!(read(&token, "cash", "march"), Ok(7));
        for (account_id, reference) in [("cash", ""), ("", "march"), ("cashmarch", ""), ("", "")] {
            assert_eq!(read(&token, account_id, reference), Err(Foreign));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let token = write(7, "", "");
        let longer = format!("{token}0");
        let other_place = token.replacen('7', "8", 1);
        let upper = write(i64::MAX, "", "").to_uppercase();
        for bad in [
            "0",
            "zz",
            &token[..31],
            &longer,
            &other_place,
            &upper,
            "ééééééééééééééééé",
        ] {
            assert_eq!(read(bad, "", ""), Err(Foreign), "{bad}");
        }
    }
}
