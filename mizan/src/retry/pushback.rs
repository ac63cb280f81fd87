//! The callee's say in when to retry: the trailer `grpc-retry-pushback-ms`, read and written.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status, metadata::MetadataMap};

/// gRFC A6: milliseconds as a signed 32-bit integer.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

const DETAILS: &str = "grpc-status-details-bin";

/// The longest a callee is left alone at its own word.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What a callee asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Nothing.
    None,
    /// Try again after exactly this long.
    After(Duration),
    /// Do not try again.
    Stop,
}

impl Pushback {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(PUSHBACK) else {
            return Self::None;
        };
        // Negative or unreadable means stop. `parse` takes a plus sign; the protocol does not.
        let millis = value
            .to_str()
            .ok()
            .filter(|text| !text.starts_with('+'))
            .and_then(|text| text.parse::<i32>().ok());
        match millis.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Self::After(Duration::from_millis(millis)),
            None => Self::Stop,
        }
    }
}

/// For how long a callee that has had too much asks to be left alone: by `grpc-retry-pushback-ms`, by
/// `RetryInfo` in its details, or by HTTP's `retry-after` in seconds; at most five minutes, as linkerd
/// takes it. Only of RESOURCE_EXHAUSTED, and of a proxy's 429: an instance that turns away one call in
/// many by UNAVAILABLE is to have the others, and one that is away is no callee with a rate.
pub(crate) fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let seconds = || {
        Some(Duration::from_secs(
            text("retry-after")?.trim().parse().ok()?,
        ))
    };
    let asked = match Pushback::read(headers) {
        Pushback::After(pause) => Some(pause),
        Pushback::Stop | Pushback::None => retry_info(headers).or_else(seconds),
    };
    Some(asked?.min(PAUSE_MAX)).filter(|pause| !pause.is_zero())
}

/// The `RetryInfo` among a status's details. What cannot be read says nothing.
fn retry_info(headers: &HeaderMap) -> Option<Duration> {
    let mut one = HeaderMap::with_capacity(1);
    one.insert(DETAILS, headers.get(DETAILS)?.clone());
    let details = MetadataMap::from_headers(one);
    let details = details.get_bin(DETAILS)?.to_bytes().ok()?;
    let status = Status::with_details(Code::Unknown, "", details);
    crate::status::retry_after(&status)
}

/// Says on a status that everything was tried here already. A handler that returns it upward
/// stops its own caller from trying all of it again, at this hop and at every one above.
pub(crate) fn mark_exhausted(status: &mut Status) {
    let stop = tonic::metadata::MetadataValue::from_static("-1");
    status.metadata_mut().insert(PUSHBACK, stop);
}

/// The same for a response that carries its status in its headers.
pub(crate) fn mark_exhausted_headers(headers: &mut HeaderMap) {
    headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status;

    fn read(value: &'static str) -> Pushback {
        let mut headers = HeaderMap::new();
        headers.insert(PUSHBACK, HeaderValue::from_static(value));
        Pushback::read(&headers)
    }

    #[test]
    fn pushback_has_both_meanings() {
        assert_eq!(Pushback::read(&HeaderMap::new()), Pushback::None);
        assert_eq!(read("250"), Pushback::After(Duration::from_millis(250)));
        assert_eq!(read("0"), Pushback::After(Duration::ZERO));
        for stop in ["-1", "-250", "soon", "", "2147483648", "+5", "1.5"] {
            assert_eq!(read(stop), Pushback::Stop, "{stop}");
        }
    }

    #[test]
    fn a_callees_time_is_read_wherever_it_says_it_and_is_bounded() {
        let asked = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            asked_pause(&headers)
        };
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        assert_eq!(asked_pause(&HeaderMap::new()), None);
        assert_eq!(asked(PUSHBACK, "250"), Some(ms(250)));
        assert_eq!(asked(PUSHBACK, "0"), None, "no time at all is none");
        assert_eq!(asked(PUSHBACK, "-1"), None);
        assert_eq!(asked("retry-after", " 7 "), Some(s(7)));
        assert_eq!(asked("retry-after", "86400"), Some(PAUSE_MAX));
        assert_eq!(asked("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(asked(DETAILS, "no base64 !"), None);
        let told = status::retry_later(Code::ResourceExhausted, "BUSY", "busy", ms(40));
        let mut headers = told.into_http::<tonic::body::Body>().into_parts().0.headers;
        assert_eq!(asked_pause(&headers), Some(ms(40)));
        headers.insert(PUSHBACK, HeaderValue::from_static("20"));
        assert_eq!(asked_pause(&headers), Some(ms(20)), "what gRPC says first");
    }

    #[test]
    fn a_marked_status_stops_whoever_receives_it() {
        let mut status = Status::unavailable("nobody answers");
        mark_exhausted(&mut status);
        mark_exhausted(&mut status);
        let response = status.into_http::<tonic::body::Body>();
        assert_eq!(Pushback::read(response.headers()), Pushback::Stop);
        let values = response.headers().get_all(PUSHBACK);
        assert_eq!(values.iter().count(), 1);
    }

    #[test]
    fn marked_headers_replace_what_the_callee_said() {
        let mut headers = HeaderMap::new();
        headers.insert(PUSHBACK, HeaderValue::from_static("20"));
        mark_exhausted_headers(&mut headers);
        assert_eq!(Pushback::read(&headers), Pushback::Stop);
    }
}
