//! What a callee says beside a failure's status is said to its caller, and goes no further.
//!
//! *Problem.* tonic keeps the headers or trailers of a failure as the status's metadata, and a server
//! sends a status's metadata on. So a handler that says `?` to its own callee tells its caller the
//! callee's headers: cookies, versions, internal names, another server's pushback.
//!
//! *What it does.* The channel names what came with a failure, in one field more. The handler sees all
//! of it; a server of ours takes the named fields out of an answer, and that field too. What a
//! handler adds under names of its own goes out.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use tonic::Status;

use crate::retry::Pushback;

/// The names of the fields that came from a callee.
const RECEIVED: HeaderName = HeaderName::from_static("mizan-received");
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Names what came with a failure. That nobody is to try again, anywhere, is passed on.
pub(crate) fn mark(fields: &mut HeaderMap) {
    // A callee has no say in it.
    fields.remove(RECEIVED);
    let stops = Pushback::read(fields) == Pushback::Stop;
    let ours = |name: &HeaderName| {
        name == CONTENT_TYPE
            || *name == Status::GRPC_STATUS
            || *name == Status::GRPC_MESSAGE
            || *name == Status::GRPC_STATUS_DETAILS
            || (name == PUSHBACK && stops)
    };
    let mut names = String::new();
    for name in fields.keys().filter(|name| !ours(name)) {
        if !names.is_empty() {
            names.push(',');
        }
        names.push_str(name.as_str());
    }
    // Names of fields always make a value.
    if let Ok(names) = HeaderValue::try_from(names)
        && !names.is_empty()
    {
        fields.insert(RECEIVED, names);
    }
}

/// Takes out of an answer what a callee said to the handler.
#[cfg(feature = "server")]
pub(crate) fn take_out(answer: &mut HeaderMap) {
    let Some(names) = answer.remove(RECEIVED) else {
        return;
    };
    for name in names.to_str().unwrap_or_default().split(',') {
        answer.remove(name);
    }
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(field).collect()
    }

    /// The names in an answer that a handler gives by `?`, having added some.
    fn passed_on(received: &[(&'static str, &str)], added: &[(&'static str, &str)]) -> Vec<String> {
        let mut received = fields(received);
        mark(&mut received);
        let mut answer = received;
        answer.extend(fields(added));
        take_out(&mut answer);
        let mut names: Vec<_> = answer.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn only_the_status_goes_on_and_what_the_handler_adds() {
        let callee = [
            ("grpc-status", "9"),
            ("grpc-message", "why"),
            ("grpc-status-details-bin", "AAAA"),
            ("content-type", "application/grpc"),
            ("server", "internal/1.2"),
            ("set-cookie", "session=1"),
            ("x-trace", "abc"),
            ("grpc-retry-pushback-ms", "250"),
        ];
        let status = [
            "content-type",
            "grpc-message",
            "grpc-status",
            "grpc-status-details-bin",
        ];
        assert_eq!(passed_on(&callee, &[]), status);
        let own = passed_on(&callee, &[("x-own", "1")]);
        assert_eq!(own[..4], status);
        assert_eq!(own[4..], ["x-own"]);
    }

    #[test]
    fn that_nobody_is_to_try_again_goes_on() {
        let stop = [("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")];
        assert_eq!(
            passed_on(&stop, &[]),
            ["grpc-retry-pushback-ms", "grpc-status"]
        );
    }

    #[test]
    fn a_callee_cannot_say_what_is_taken_out() {
        let forged = [("grpc-status", "9"), ("mizan-received", "grpc-status")];
        assert_eq!(passed_on(&forged, &[]), ["grpc-status"]);
        assert_eq!(passed_on(&[("grpc-status", "9")], &[]), ["grpc-status"]);
    }
}
