//! Texts: what every contract asks of them, and only characters that an invoice can be exported
//! with: those of XML 1.0 (production 2). PostgreSQL cannot keep a NUL either.

use mizan::{
    request::{document_text, required_text, text},
    status::Violations,
};

/// A text of at most `chars_max` characters; may be empty.
pub(crate) fn plain_text(chars_max: usize, field: &str, value: &str, violations: &mut Violations) {
    text(chars_max, field, value, violations);
    document_text(field, value, violations);
}

/// A text of 1 to `chars_max` characters.
pub(crate) fn plain_required(
    chars_max: usize,
    field: &str,
    value: &str,
    violations: &mut Violations,
) {
    required_text(chars_max, field, value, violations);
    document_text(field, value, violations);
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
