//! Headers and trailers: how large they may be, and what of them must not be trusted.

use http::{HeaderMap, Request};
use tonic::{Code, Status, metadata::MetadataMap};

use super::exchange::Peer;
use crate::status;

/// What each field counts beside its name and value (RFC 9113, 6.5.2).
const FIELD: usize = 32;

/// How large a list of fields is, by the measure that peers limit.
fn size(fields: &HeaderMap) -> usize {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + FIELD
    };
    fields.iter().map(field).sum()
}

/// The same of a request, its pseudo-headers included.
fn size_of(request: &Request<()>) -> usize {
    let uri = request.uri();
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |a| a.as_str());
    let path = uri.path_and_query().map_or("", |p| p.as_str());
    let method = request.method().as_str();
    let pseudo = [
        (":method", method),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
    ];
    let pseudo = pseudo.map(|(name, value)| name.len() + value.len() + FIELD);
    pseudo.iter().sum::<usize>() + size(request.headers())
}

/// Whether the peer takes a request with so many headers.
///
/// # Errors
/// RESOURCE_EXHAUSTED, of the caller's own making: nothing was sent.
pub(super) fn may_go(peer: &Peer, request: &Request<()>) -> Result<(), Status> {
    let max = peer.wire.headers_max();
    if max == u32::MAX {
        return Ok(());
    }
    let size = size_of(request);
    if size <= usize::try_from(max).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let address = &peer.address;
    Err(status::refused(
        Code::ResourceExhausted,
        "METADATA_TOO_LARGE",
        format!("{address} takes {max} bytes of request metadata, and this has {size}; send less"),
    ))
}

/// Whether the headers or trailers of an answer are within our own limit; what would break whoever
/// reads them is taken out.
///
/// # Errors
/// RESOURCE_EXHAUSTED, of our own making: the callee answered.
pub(super) fn may_come(peer: &Peer, fields: &mut HeaderMap, which: &str) -> Result<(), Status> {
    let (size, max) = (size(fields), peer.headers_max);
    if size > usize::try_from(max).unwrap_or(usize::MAX) {
        let address = &peer.address;
        return Err(status::refused(
            Code::ResourceExhausted,
            "ANSWER_METADATA_TOO_LARGE",
            format!(
                "{address} answered with {size} bytes of {which}, at most {max} are allowed; \
                 raise headers_max, or send less there"
            ),
        ));
    }
    if has_broken_details(fields) {
        tracing::debug!(
            instance = %peer.address,
            "its {} are no base64, and are left out",
            Status::GRPC_STATUS_DETAILS
        );
        fields.remove(Status::GRPC_STATUS_DETAILS);
    }
    Ok(())
}

/// Whether there are error details that are no base64: tonic's clients panic on them.
fn has_broken_details(fields: &HeaderMap) -> bool {
    let name = Status::GRPC_STATUS_DETAILS;
    let Some(details) = fields.get(&name) else {
        return false;
    };
    // Read by the same decoder.
    let mut alone = HeaderMap::with_capacity(1);
    alone.insert(&name, details.clone());
    let alone = MetadataMap::from_headers(alone);
    alone
        .get_bin(name.as_str())
        .is_none_or(|v| v.to_bytes().is_err())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_counted_as_the_rfc_says() {
        let mut fields = HeaderMap::new();
        assert_eq!(size(&fields), 0);
        fields.insert("name", "value".parse().unwrap());
        fields.append("name", "other".parse().unwrap());
        assert_eq!(size(&fields), 2 * (4 + 5 + 32));
        let request = Request::post("http://a:1/s/m").body(()).unwrap();
        let pseudo = 4 * 32 + ":method:scheme:authority:path".len();
        assert_eq!(size_of(&request), pseudo + "POSThttpa:1/s/m".len());
    }

    #[test]
    fn details_are_broken_when_they_are_no_base64() {
        for (details, broken) in [
            ("", false),
            ("AAA", false),
            ("AAA=", false),
            ("!!! not base64 !!!", true),
            ("A", true),
            ("AA==AA", true),
            ("AA-_", true),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(Status::GRPC_STATUS_DETAILS, details.parse().unwrap());
            assert_eq!(has_broken_details(&fields), broken, "{details}");
        }
    }

    proptest! {
        /// What is let through, tonic reads without a panic.
        #[test]
        fn what_is_let_through_is_read(details in prop::collection::vec(32_u8..=255, 0..30)) {
            prop_assume!(!details.contains(&127));
            let mut fields = HeaderMap::new();
            fields.insert(Status::GRPC_STATUS, 9.into());
            let value = http::HeaderValue::from_bytes(&details).unwrap();
            fields.insert(Status::GRPC_STATUS_DETAILS, value);
            if has_broken_details(&fields) {
                fields.remove(Status::GRPC_STATUS_DETAILS);
            }
            prop_assert!(Status::from_header_map(&fields).is_some());
        }
    }
}
