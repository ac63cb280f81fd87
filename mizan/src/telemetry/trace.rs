//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>), version 00.

use std::fmt;

use http::{HeaderMap, HeaderValue};

/// The length of a header of version 00.
const LENGTH: usize = 55;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// Which trace a call belongs to, and which span of it made the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// The name of the header.
    pub const HEADER: &str = "traceparent";

    /// Begins a new trace, sampled.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace_id: fastrand::u128(1..),
            span_id: fastrand::u64(1..),
            flags: SAMPLED,
        }
    }

    /// A span of the trace that the headers of a request carry, or of a new one.
    #[must_use]
    pub fn continued(headers: &HeaderMap) -> Self {
        let header = headers.get(Self::HEADER);
        let parent = header.and_then(|value| Self::parse(value.to_str().ok()?));
        parent.map_or_else(Self::root, |parent| parent.child())
    }

    /// Whether whoever began the trace records it. It is carried on as it came.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: fastrand::u64(1..),
            ..*self
        }
    }

    /// Reads a `traceparent`. Anything malformed, of version ff, or with an all-zero id is no
    /// context; a later version is read by its first four fields, as the standard asks.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut fields = header.trim().split('-');
        let version = hex_field(fields.next()?, 2)?;
        let trace_id = hex_field(fields.next()?, 32)?;
        let span_id = u64::try_from(hex_field(fields.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex_field(fields.next()?, 2)?).ok()?;
        let surplus = fields.next().is_some();
        if version == 0xff || (version == 0 && surplus) || trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self {
            trace_id,
            span_id,
            flags,
        })
    }

    /// The trace's id, 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span's id, 16 hex digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// The trace's id for a log line, without a string in between.
    pub(crate) fn trace_id_hex(&self) -> impl fmt::Display + use<> {
        Hex::<32>(self.trace_id)
    }

    /// The span's id likewise.
    pub(crate) fn span_id_hex(&self) -> impl fmt::Display + use<> {
        Hex::<16>(self.span_id.into())
    }

    /// The header's value, made in place: one allocation, the value's own.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        let mut text = [b'-'; LENGTH];
        write_hex(&mut text[..2], 0);
        write_hex(&mut text[3..35], self.trace_id);
        write_hex(&mut text[36..52], self.span_id.into());
        write_hex(&mut text[53..], self.flags.into());
        // Hex digits and hyphens always make a header value.
        let value = HeaderValue::from_bytes(&text);
        unindexed(value.unwrap_or_else(|_| HeaderValue::from_static("")))
    }
}

/// A value that differs from call to call: HPACK's table of recent headers gains nothing by it, and
/// would lose those that come again. `http` calls such a value sensitive.
pub(crate) fn unindexed(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Fills `field` with the last digits of a number.
fn write_hex(field: &mut [u8], mut number: u128) {
    for digit in field.iter_mut().rev() {
        *digit = match u8::try_from(number & 0xf) {
            Ok(nibble @ 0..=9) => b'0' + nibble,
            Ok(nibble) => b'a' - 10 + nibble,
            Err(_) => b'0',
        };
        number >>= 4;
    }
}

/// A number in so many hex digits.
struct Hex<const DIGITS: usize>(u128);

impl<const DIGITS: usize> fmt::Display for Hex<DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

/// The header's value.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

/// A field of exactly `digits` lower-case hex digits.
fn hex_field(field: &str, digits: usize) -> Option<u128> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if field.len() != digits || !field.bytes().all(lower_hex) {
        return None;
    }
    u128::from_str_radix(field, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_header_reads_and_writes_back() {
        assert_eq!(TraceContext::parse(GOOD).unwrap().to_string(), GOOD);
    }

    #[test]
    fn a_child_stays_in_the_trace() {
        let parent = TraceContext::parse(GOOD).unwrap();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
    }

    #[test]
    fn malformed_headers_are_no_context() {
        for bad in [
            "",
            "00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
        assert!(TraceContext::parse(&GOOD.replace("00-0", "01-0")).is_some());
    }

    #[test]
    fn whether_a_trace_is_sampled_is_carried_on() {
        let unsampled = TraceContext::parse(&GOOD.replace("-01", "-00")).unwrap();
        assert!(!unsampled.is_sampled() && !unsampled.child().is_sampled());
        assert!(TraceContext::root().is_sampled());
    }

    #[test]
    fn a_request_continues_its_callers_trace_or_begins_one() {
        let mut headers = HeaderMap::new();
        assert_ne!(
            TraceContext::continued(&headers).trace_id(),
            TraceContext::continued(&headers).trace_id()
        );
        headers.insert(TraceContext::HEADER, GOOD.parse().unwrap());
        let continued = TraceContext::continued(&headers);
        assert_eq!(continued.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(continued.span_id(), "b7ad6b7169203331");
    }

    proptest! {
        #[test]
        fn the_header_made_in_place_is_the_one_that_is_written(trace_id in 1_u128.., span_id in 1_u64.., flags: u8) {
            let trace = TraceContext { trace_id, span_id, flags };
            let value = trace.header_value();
            prop_assert_eq!(value.to_str().unwrap(), trace.to_string());
            prop_assert_eq!(TraceContext::parse(value.to_str().unwrap()), Some(trace));
            prop_assert_eq!(trace.trace_id_hex().to_string(), trace.trace_id());
            prop_assert_eq!(trace.span_id_hex().to_string(), trace.span_id());
        }

        #[test]
        fn no_header_panics(header in "\\PC{0,80}") {
            let _ = TraceContext::parse(&header);
        }
    }
}
