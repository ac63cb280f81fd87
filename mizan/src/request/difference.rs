//! In which field two requests differ, for any message of any contract.
//!
//! Requests are compared as they are encoded, which is canonical here: fields in the order of
//! their numbers, maps in the order of their keys. The names come from the file descriptors, so a
//! field that a contract gains is compared without anybody thinking of it.

use std::collections::BTreeMap;

use prost::{
    Message as _,
    bytes::Buf as _,
    encoding::{DecodeContext, decode_key, skip_field},
};
use prost_types::FileDescriptorSet;

/// The name of the first field, by number, in which two encodings of `message` differ; `None` when
/// they do not. `message` is the full name, such as `mizan.payment.v1.ProcessPaymentRequest`.
///
/// What cannot be read or named is called by the field's number, or `request`.
#[must_use]
pub fn first_difference(message: &str, one: &[u8], other: &[u8]) -> Option<String> {
    if one == other {
        return None;
    }
    let (Some(one), Some(other)) = (fields(one), fields(other)) else {
        return Some("request".to_owned());
    };
    let numbers = one.keys().chain(other.keys());
    let differing = numbers
        .filter(|number| one.get(number) != other.get(number))
        .min();
    Some(match differing {
        Some(number) => name(message, *number).unwrap_or_else(|| format!("field {number}")),
        None => "request".to_owned(),
    })
}

/// The encoded values of a message's fields, by number; repeated ones in order.
fn fields(encoded: &[u8]) -> Option<BTreeMap<u32, Vec<u8>>> {
    let mut fields: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut rest = encoded;
    while rest.has_remaining() {
        let (number, wire_type) = decode_key(&mut rest).ok()?;
        let before = rest;
        skip_field(wire_type, number, &mut rest, DecodeContext::default()).ok()?;
        let value = before.get(..before.len() - rest.len())?;
        fields.entry(number).or_default().extend_from_slice(value);
    }
    Some(fields)
}

fn name(message: &str, number: u32) -> Option<String> {
    let files = FileDescriptorSet::decode(mizan_contracts::FILE_DESCRIPTOR_SET).ok()?;
    let (package, message) = message.rsplit_once('.')?;
    let files = files
        .file
        .into_iter()
        .filter(|file| file.package() == package);
    let found = files
        .flat_map(|file| file.message_type)
        .find(|m| m.name() == message)?;
    let number = i32::try_from(number).ok()?;
    let field = found
        .field
        .into_iter()
        .find(|field| field.number() == number)?;
    field.name
}

#[cfg(test)]
mod tests {
    use mizan_contracts::registry::v1::{Instance, RegisterRequest, WatchInstancesRequest};
    use proptest::prelude::*;

    use super::*;

    const WATCH: &str = "mizan.registry.v1.WatchInstancesRequest";

    fn watch(services: &[&str], include_unhealthy: bool) -> Vec<u8> {
        let services = services.iter().map(|s| (*s).to_owned()).collect();
        WatchInstancesRequest {
            services,
            include_unhealthy,
            ..WatchInstancesRequest::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn the_first_differing_field_is_named() {
        let base = watch(&["a", "b"], true);
        assert_eq!(first_difference(WATCH, &base, &base), None);
        assert_eq!(
            first_difference(WATCH, &base, &watch(&["a"], false)).as_deref(),
            Some("services")
        );
        assert_eq!(
            first_difference(WATCH, &base, &watch(&["a", "b"], false)).as_deref(),
            Some("include_unhealthy")
        );
    }

    #[test]
    fn a_message_inside_is_its_field() {
        let register = |id: &str| {
            let instance = Instance {
                instance_id: id.to_owned(),
                ..Instance::default()
            };
            RegisterRequest {
                instance: Some(instance),
                ..RegisterRequest::default()
            }
            .encode_to_vec()
        };
        let name = first_difference(
            "mizan.registry.v1.RegisterRequest",
            &register("a"),
            &register("b"),
        );
        assert_eq!(name.as_deref(), Some("instance"));
    }

    #[test]
    fn what_cannot_be_read_is_still_different() {
        assert_eq!(
            first_difference(WATCH, &[0xff], &[]).as_deref(),
            Some("request")
        );
        assert_eq!(
            first_difference("no.such.Message", &[8, 1], &[]).as_deref(),
            Some("field 1")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(one in prop::collection::vec(any::<u8>(), 0..40), other in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(first_difference(WATCH, &one, &other).is_none(), one == other);
        }
    }
}
