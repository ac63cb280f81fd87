//! Tokens of pages of services. A place in that list is a name, not a number: services come and
//! go between two pages.

use crate::catalogue::check_lookup;

/// Says what a token is, so that another call's is not mistaken for one.
const TOKEN_PREFIX: &str = "services-1-";

/// The token of the page behind a service. Opaque to callers, and plain enough that nobody is
/// tempted to build one.
pub(crate) fn token(last: &str) -> String {
    let hex: String = last.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{TOKEN_PREFIX}{hex}")
}

/// The service a page begins behind; nothing when the token is not one of ours.
pub(crate) fn after(token: &str) -> Option<String> {
    let hex = token.strip_prefix(TOKEN_PREFIX)?;
    let bytes = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    let service = String::from_utf8(bytes).ok()?;
    (check_lookup("page_token", &service).is_none() && self::token(&service) == token)
        .then_some(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_tokens_are_read() {
        assert_eq!(after(&token("invoice")).as_deref(), Some("invoice"));
        for foreign in [
            "",
            "invoice",
            "services-1-",
            "services-1-zz",
            "services-1-4",
            "services-1-é",
        ] {
            assert_eq!(after(foreign), None, "{foreign}");
        }
    }
}
