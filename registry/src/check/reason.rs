//! Failures in words that fit a table.

/// The system's words without the number and the capital: "connection refused" rather than
/// "Connection refused (os error 111)".
pub(crate) fn readable(error: &str) -> String {
    let words = error.split(" (os error ").next().unwrap_or(error);
    let mut chars = words.chars();
    match chars.next() {
        // "DNS lookup failed" stays as it is.
        Some(first) if chars.as_str().starts_with(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_as_words() {
        assert_eq!(
            readable("Connection refused (os error 111)"),
            "connection refused"
        );
        assert_eq!(readable("NOT_SERVING"), "NOT_SERVING");
        assert_eq!(readable(""), "");
    }
}
