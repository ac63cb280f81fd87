//! Texts: what every contract asks of them, and only characters that an invoice can be exported
//! with: those of XML 1.0 (production 2). PostgreSQL cannot keep a NUL either.

use std::collections::BTreeMap;

use mizan::{
    request::{required_text, text},
    status::Violations,
};

/// A text of at most `chars_max` characters; may be empty.
pub(crate) fn plain_text(chars_max: usize, field: &str, value: &str, violations: &mut Violations) {
    text(chars_max, field, value, violations);
    plain(field, value, violations);
}

/// A text of 1 to `chars_max` characters.
pub(crate) fn plain_required(
    chars_max: usize,
    field: &str,
    value: &str,
    violations: &mut Violations,
) {
    required_text(chars_max, field, value, violations);
    plain(field, value, violations);
}

/// The characters of metadata, whose lengths are checked elsewhere.
pub(crate) fn plain_metadata(
    field: &str,
    pairs: &BTreeMap<String, String>,
    violations: &mut Violations,
) {
    for (key, value) in pairs {
        plain(field, key, violations);
        plain(field, value, violations);
    }
}

fn plain(field: &str, value: &str, violations: &mut Violations) {
    violations.require(value.chars().all(is_xml), field, "has a control character");
}

const fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused_and_line_ends_are_not() {
        for (text, good) in [
            ("two\nlines\r\n\tand a tab", true),
            ("😀 ميزان é", true),
            ("\0", false),
            ("\u{1b}[1m", false),
            ("\u{ffff}", false),
        ] {
            let mut violations = Violations::new();
            plain_text(99, "note", text, &mut violations);
            assert_eq!(violations.check().is_ok(), good, "{text:?}");
        }
    }
}
