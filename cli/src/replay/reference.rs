//! The transaction number of a row, and the request id that follows from it.

use uuid::Uuid;

/// The namespace of Mizan's request ids. Changing it would pay every row of the past again.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_9a52_40c8_5b7e_9d13_8c2e_47a0_61b9);

/// Why a cell is no transaction number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("has no transaction number")]
    Missing,
    #[error("transaction number has a control character: {0:?}")]
    Control(String),
}

/// A transaction number in its normal form: no whitespace at the ends or around the separators
/// `-`, `_`, `/` and `.`, single spaces elsewhere. So `46293406 - 1` and `46293406-1` are one
/// number; `46293406_1` is another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reference(String);

impl Reference {
    /// The number of a cell. One with control characters other than whitespace is none: with them it
    /// looks like another number, and without them it would be another.
    pub(crate) fn read(cell: &str) -> Result<Self, Unreadable> {
        let mut normal = String::with_capacity(cell.len());
        for word in cell.split_whitespace() {
            let glued = normal.is_empty()
                || normal.ends_with(is_separator)
                || word.starts_with(is_separator);
            if !glued {
                normal.push(' ');
            }
            normal.push_str(word);
        }
        if normal.is_empty() {
            Err(Unreadable::Missing)
        } else if normal.contains(char::is_control) {
            Err(Unreadable::Control(normal))
        } else {
            Ok(Self(normal))
        }
    }

    /// The id of the one payment that this transaction number stands for.
    pub(crate) fn request_id(&self) -> String {
        Uuid::new_v5(&NAMESPACE, self.0.as_bytes()).to_string()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '/' | '.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_number_are_one() {
        for (cell, normal) in [
            ("46293406 - 1", "46293406-1"),
            ("  46293406-1 ", "46293406-1"),
            ("46293406 -1", "46293406-1"),
            ("46289405_1", "46289405_1"),
            ("INV  2016 /\n04", "INV 2016/04"),
            ("\u{a0}7\u{a0}", "7"),
        ] {
            assert_eq!(Reference::read(cell).unwrap().as_str(), normal, "{cell:?}");
        }
        assert_eq!(Reference::read(" \t"), Err(Unreadable::Missing));
    }

    #[test]
    fn control_characters_are_in_no_number() {
        for cell in ["7\u{7}1", "\0", "7 - 1\u{1b}[2K", "\u{9f}7"] {
            let read = Reference::read(cell);
            assert!(matches!(read, Err(Unreadable::Control(_))), "{cell:?}");
        }
    }

    #[test]
    fn the_request_id_never_changes() {
        let id = |cell| Reference::read(cell).unwrap().request_id();
        assert_eq!(id("46293406 - 1"), id("46293406-1"));
        assert_ne!(id("46293406 - 1"), id("46293406 - 2"));
        assert_eq!(id("46289405_1"), "760ceb84-63ba-590d-98ab-4e364e899ff9");
    }

    #[test]
    fn the_readme_shows_a_payment_of_its_own_file() {
        let readme = include_str!("../../../README.md");
        let cell = "46289405 - 2";
        let id = Reference::read(cell).unwrap().request_id();
        assert!(readme.contains(&format!(",{cell},")), "{cell}");
        assert!(readme.contains(&format!("payments show {id}")), "{id}");
    }

    proptest! {
        #[test]
        fn normal_form_is_its_own_normal_form(cell in "[ a1/_.-]{0,20}") {
            if let Ok(reference) = Reference::read(&cell) {
                prop_assert_eq!(Reference::read(reference.as_str()), Ok(reference));
            }
        }
    }
}
