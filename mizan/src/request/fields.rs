//! Ids, texts and metadata.

use std::collections::BTreeMap;

use crate::status::Violations;

/// The most pairs of metadata, unless a contract says less.
pub const METADATA_MAX: usize = 64;

const ID_CHARS_MAX: usize = 128;
const REFERENCE_CHARS_MAX: usize = 256;
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 512;

/// A required id: 1 to 128 characters of `[A-Za-z0-9._:-]`.
pub fn id(field: &str, value: &str, violations: &mut Violations) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    if value.is_empty() {
        violations.add(field, "is required");
    } else if value.len() > ID_CHARS_MAX || !value.bytes().all(plain) {
        violations.add(field, "is not 1 to 128 characters of [A-Za-z0-9._:-]");
    }
}

/// A text of at most `chars_max` characters; may be empty. Without NUL, which PostgreSQL does not
/// keep: what one store takes the other does.
pub fn text(chars_max: usize, field: &str, value: &str, violations: &mut Violations) {
    if longer(chars_max, value) {
        violations.add(field, format!("has more than {chars_max} characters"));
    }
    violations.require(!value.contains('\0'), field, "has a NUL character");
}

/// A text of 1 to `chars_max` characters.
pub fn required_text(chars_max: usize, field: &str, value: &str, violations: &mut Violations) {
    violations.require(!value.is_empty(), field, "is required");
    text(chars_max, field, value, violations);
}

/// The caller's own reference: at most 256 characters.
pub fn reference(value: &str, violations: &mut Violations) {
    text(REFERENCE_CHARS_MAX, "reference", value, violations);
}

/// Free key-value pairs: at most `pairs_max`, keys of 1 to 128 characters, values of at most 512.
pub fn metadata(pairs_max: usize, pairs: &BTreeMap<String, String>, violations: &mut Violations) {
    if pairs.len() > pairs_max {
        violations.add("metadata", format!("has more than {pairs_max} pairs"));
        return;
    }
    for (key, value) in pairs {
        if key.is_empty() || longer(KEY_CHARS_MAX, key) || key.contains('\0') {
            let rule = format!("has a key that is not 1 to {KEY_CHARS_MAX} characters without NUL");
            violations.add("metadata", rule);
        } else {
            text(
                VALUE_CHARS_MAX,
                &format!("metadata[{key}]"),
                value,
                violations,
            );
        }
    }
}

/// Only characters that a document can be exported with: those of XML 1.0 (production 2). How long the
/// text is, [`text`] checks.
pub fn document_text(field: &str, value: &str, violations: &mut Violations) {
    let is_xml = |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    violations.require(value.chars().all(is_xml), field, "has a control character");
}

/// The same of metadata, which [`metadata`] checks the lengths of.
pub fn document_metadata(
    field: &str,
    pairs: &BTreeMap<String, String>,
    violations: &mut Violations,
) {
    for (key, value) in pairs {
        document_text(field, key, violations);
        document_text(field, value, violations);
    }
}

fn longer(chars_max: usize, value: &str) -> bool {
    value.chars().nth(chars_max).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(check: impl Fn(&mut Violations)) -> bool {
        let mut violations = Violations::new();
        check(&mut violations);
        violations.check().is_err()
    }

    #[test]
    fn ids_are_plain_and_bounded() {
        let long = "a".repeat(128);
        for good in ["a", "A-b_c.d:9", &long] {
            assert!(!refused(|v| id("request_id", good, v)), "{good}");
        }
        let longer = "a".repeat(129);
        for bad in ["", " ", "a b", "a/b", "é", "a\0", &longer] {
            assert!(refused(|v| id("request_id", bad, v)), "{bad:?}");
        }
    }

    #[test]
    fn texts_are_counted_in_characters() {
        assert!(!refused(|v| text(3, "name", "ééé", v)));
        assert!(refused(|v| text(3, "name", "éééé", v)));
        assert!(refused(|v| text(3, "name", "a\0b", v)));
        assert!(refused(|v| required_text(3, "name", "", v)));
    }

    #[test]
    fn a_document_takes_line_ends_and_no_control_characters() {
        for (value, good) in [
            ("two\nlines\r\n\tand a tab", true),
            ("😀 ميزان é", true),
            ("\0", false),
            ("\u{1b}[1m", false),
            ("\u{ffff}", false),
        ] {
            assert_eq!(
                !refused(|v| document_text("note", value, v)),
                good,
                "{value:?}"
            );
            let pairs = BTreeMap::from([("k".to_owned(), value.to_owned())]);
            assert_eq!(!refused(|v| document_metadata("m", &pairs, v)), good);
            let pairs = BTreeMap::from([(value.to_owned(), String::new())]);
            assert_eq!(!refused(|v| document_metadata("m", &pairs, v)), good);
        }
    }

    #[test]
    fn metadata_is_bounded_in_pairs_keys_and_values() {
        let pairs = |n: usize, key: &str, value: &str| -> BTreeMap<String, String> {
            (0..n)
                .map(|i| (format!("{key}{i}"), value.to_owned()))
                .collect()
        };
        assert!(!refused(|v| metadata(
            2,
            &pairs(2, "k", &"v".repeat(512)),
            v
        )));
        assert!(refused(|v| metadata(2, &pairs(3, "k", "v"), v)));
        assert!(refused(|v| metadata(
            2,
            &pairs(1, &"k".repeat(128), "v"),
            v
        )));
        assert!(refused(|v| metadata(
            2,
            &pairs(1, "k", &"v".repeat(513)),
            v
        )));
        assert!(refused(|v| metadata(
            2,
            &BTreeMap::from([(String::new(), String::new())]),
            v
        )));
    }
}
