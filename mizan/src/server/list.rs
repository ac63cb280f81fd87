//! Health's `List` (gRFC A90), which the generated code of health does not have yet: its messages, and
//! how reflection describes it.

use std::collections::HashMap;

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions,
    MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use tonic_health::pb::HealthCheckResponse;

/// Its path.
pub(super) const PATH: &str = "/grpc.health.v1.Health/List";

/// Asks for the health of everything.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct HealthListRequest {}

/// The health of everything, by name.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HealthListResponse {
    #[prost(map = "string, message", tag = "1")]
    pub(super) statuses: HashMap<String, HealthCheckResponse>,
}

/// The description of health, `List` included. As gRPC's own file has it.
///
/// # Errors
/// Where the generated one cannot be read.
pub(super) fn descriptors() -> Result<FileDescriptorSet, prost::DecodeError> {
    let mut set: FileDescriptorSet = prost::Message::decode(tonic_health::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut set.file {
        let health = file.service.iter_mut().find(|s| s.name() == "Health");
        let Some(health) = health.filter(|health| !health.method.iter().any(is_list)) else {
            continue;
        };
        health.method.push(MethodDescriptorProto {
            name: Some("List".into()),
            input_type: Some(".grpc.health.v1.HealthListRequest".into()),
            output_type: Some(".grpc.health.v1.HealthListResponse".into()),
            ..MethodDescriptorProto::default()
        });
        file.message_type.push(DescriptorProto {
            name: Some("HealthListRequest".into()),
            ..DescriptorProto::default()
        });
        file.message_type.push(response());
    }
    Ok(set)
}

fn is_list(method: &MethodDescriptorProto) -> bool {
    method.name() == "List"
}

/// A map is a repeated message of keys and values.
fn response() -> DescriptorProto {
    const STATUS: &str = ".grpc.health.v1.HealthCheckResponse";
    const ENTRY: &str = ".grpc.health.v1.HealthListResponse.StatusesEntry";
    let entry = DescriptorProto {
        name: Some("StatusesEntry".into()),
        field: vec![
            field("key", 1, Label::Optional, None),
            field("value", 2, Label::Optional, Some(STATUS)),
        ],
        options: Some(MessageOptions {
            map_entry: Some(true),
            ..MessageOptions::default()
        }),
        ..DescriptorProto::default()
    };
    DescriptorProto {
        name: Some("HealthListResponse".into()),
        field: vec![field("statuses", 1, Label::Repeated, Some(ENTRY))],
        nested_type: vec![entry],
        ..DescriptorProto::default()
    }
}

/// A field of a message, or a string where none is named.
fn field(name: &str, number: i32, label: Label, message: Option<&str>) -> FieldDescriptorProto {
    let kind = message.map_or(Type::String, |_| Type::Message);
    FieldDescriptorProto {
        name: Some(name.into()),
        json_name: Some(name.into()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name: message.map(Into::into),
        ..FieldDescriptorProto::default()
    }
}
