//! gRPC status with `google.rpc` details: what went wrong, in which field, when to try again.
//!
//! Every error a Mizan server returns carries an `ErrorInfo` with a stable reason and the domain
//! [`DOMAIN`]; `docs/ERRORS.md` lists the reasons.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The `ErrorInfo` domain of every reason.
pub const DOMAIN: &str = "mizan";

/// The reason of a request that breaks the contract; the `BadRequest` detail names the fields.
pub const INVALID_REQUEST: &str = "INVALID_REQUEST";

/// The most violations that one status tells, and the most characters of each part of one. A
/// status travels in HTTP headers, which clients bound to some 16 KiB; one that is larger would
/// reach the caller as a broken connection, to be retried.
const TOLD_MAX: usize = 16;
const CHARS_MAX: usize = 160;

/// What is wrong with a request, field by field: not only the first, up to 16.
#[derive(Debug, Default)]
pub struct Violations {
    fields: Vec<(String, String)>,
}

impl Violations {
    /// Nothing wrong so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what is wrong with a field. `description` is a clause that fits after the name:
    /// "is required".
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.fields.len() < TOLD_MAX {
            self.fields
                .push((shortened(field.into()), shortened(description.into())));
        }
    }

    /// Notes it unless `holds`.
    pub fn require(&mut self, holds: bool, field: impl Into<String>, description: &str) {
        if !holds {
            self.add(field, description);
        }
    }

    /// Keeps the value, or notes the error.
    pub fn keep<T, E: std::fmt::Display>(
        &mut self,
        field: impl Into<String>,
        value: Result<T, E>,
    ) -> Option<T> {
        value.map_err(|e| self.add(field, e.to_string())).ok()
    }

    /// What was noted, for a request of which this one is a part: each field and what is wrong.
    #[must_use]
    pub fn into_fields(self) -> Vec<(String, String)> {
        self.fields
    }

    /// Fine, or INVALID_ARGUMENT with a `BadRequest` that lists every field.
    ///
    /// # Errors
    /// The status, if anything was noted.
    pub fn check(self) -> Result<(), Status> {
        let Some((field, description)) = self.fields.first() else {
            return Ok(());
        };
        let message = format!("{field} {description}");
        let mut details = ErrorDetails::with_error_info(INVALID_REQUEST, DOMAIN, []);
        for (field, description) in self.fields {
            details.add_bad_request_violation(field, description);
        }
        Err(Status::with_error_details(
            Code::InvalidArgument,
            message,
            details,
        ))
    }
}

/// A text whose end is cut off when it is too long for a status.
fn shortened(text: String) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// INVALID_ARGUMENT for one field.
#[must_use]
pub fn invalid(field: &str, description: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(INVALID_REQUEST, DOMAIN, []);
    details.add_bad_request_violation(field, description);
    Status::with_error_details(
        Code::InvalidArgument,
        format!("{field} {description}"),
        details,
    )
}

/// A refusal with a stable reason, an UPPER_SNAKE word.
#[must_use]
pub fn refused(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, message, details)
}

/// A refusal that names the field it is about, such as NOT_FOUND for an id.
#[must_use]
pub fn refused_field(code: Code, reason: &str, field: &str, description: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    details.add_bad_request_violation(field, description);
    Status::with_error_details(code, format!("{field} {description}"), details)
}

/// A refusal that says when to try again.
#[must_use]
pub fn retry_later(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    after: Duration,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    details.set_retry_info(Some(after));
    Status::with_error_details(code, message, details)
}

/// The `ErrorInfo` reason of a status, if it has one.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// When a status says to try again, if it does.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_named_and_the_first_is_the_message() {
        let mut violations = Violations::new();
        violations.require(true, "fine", "is required");
        violations.add("amount", "is required");
        violations.add("party.name", "is empty");
        let status = violations.check().unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "amount is required");
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[1].field, "party.name");
        assert_eq!(reason(&status).as_deref(), Some(INVALID_REQUEST));
    }

    #[test]
    fn a_status_stays_small_enough_to_travel() {
        let mut violations = Violations::new();
        for index in 0..1000 {
            violations.add(
                format!("lines[{index}].{}", "é".repeat(1000)),
                "x".repeat(1000),
            );
        }
        let status = violations.check().unwrap_err();
        assert!(status.details().len() + status.message().len() < 10_000);
        assert_eq!(
            status
                .get_details_bad_request()
                .unwrap()
                .field_violations
                .len(),
            TOLD_MAX
        );
    }

    #[test]
    fn nothing_noted_is_fine() {
        assert!(Violations::new().check().is_ok());
    }
}
