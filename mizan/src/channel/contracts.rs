//! What the contracts say of methods: which of them stream, and which may be done twice.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

use crate::deadline::Shape;

/// The methods that a channel has contracts of, by path.
#[derive(Debug, Default)]
pub(super) struct Contracts {
    methods: HashMap<Box<str>, Contract>,
}

/// What is known of a method beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contract {
    /// By the contract; without one, nothing is known.
    pub(super) shape: Shape,
    /// Whether a call that may have been done may be done again, as far as the contract goes: it says
    /// so by `idempotency_level`, and a contract that says nothing says no. Without one, nobody said no.
    pub(super) repeatable: bool,
}

impl Contracts {
    /// Reads an encoded `google.protobuf.FileDescriptorSet`.
    pub(super) fn read(set: &[u8]) -> Result<Self, prost::DecodeError> {
        let mut methods = HashMap::new();
        for file in FileDescriptorSet::decode(set)?.file {
            for service in &file.service {
                let service_name = match file.package() {
                    "" => service.name().to_owned(),
                    package => format!("{package}.{}", service.name()),
                };
                for method in &service.method {
                    let path = format!("/{service_name}/{}", method.name());
                    methods.insert(path.into(), Contract::of(method));
                }
            }
        }
        Ok(Self { methods })
    }

    /// What is known of the method with this path.
    pub(super) fn of(&self, path: &str) -> Contract {
        self.methods.get(path).copied().unwrap_or(Contract::UNKNOWN)
    }
}

impl Contract {
    const UNKNOWN: Self = Self {
        shape: Shape::Unknown,
        repeatable: true,
    };

    fn of(method: &MethodDescriptorProto) -> Self {
        let streams = method.client_streaming() || method.server_streaming();
        let level = method
            .options
            .as_ref()
            .map(|options| options.idempotency_level());
        Self {
            shape: if streams { Shape::Stream } else { Shape::Unary },
            repeatable: matches!(
                level,
                Some(IdempotencyLevel::NoSideEffects | IdempotencyLevel::Idempotent)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{FileDescriptorProto, MethodOptions, ServiceDescriptorProto};

    use super::*;

    fn method(name: &str, streams: bool, level: Option<IdempotencyLevel>) -> MethodDescriptorProto {
        MethodDescriptorProto {
            name: Some(name.into()),
            server_streaming: Some(streams),
            options: level.map(|level| MethodOptions {
                idempotency_level: Some(level.into()),
                ..MethodOptions::default()
            }),
            ..MethodDescriptorProto::default()
        }
    }

    #[test]
    fn methods_are_known_by_their_paths() {
        let service = |name: &str, method| ServiceDescriptorProto {
            name: Some(name.into()),
            method,
            ..ServiceDescriptorProto::default()
        };
        let file = |package: Option<&str>, service| FileDescriptorProto {
            package: package.map(Into::into),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        let cards = vec![
            method("Charge", false, None),
            method("Get", false, Some(IdempotencyLevel::NoSideEffects)),
            method("Void", false, Some(IdempotencyLevel::Idempotent)),
            method("Keep", false, Some(IdempotencyLevel::IdempotencyUnknown)),
            method("Watch", true, Some(IdempotencyLevel::NoSideEffects)),
        ];
        let set = FileDescriptorSet {
            file: vec![
                file(Some("shop.v1"), service("Cards", cards)),
                file(None, service("Bare", vec![method("Do", false, None)])),
            ],
        };
        let contracts = Contracts::read(&set.encode_to_vec()).unwrap();
        let of = |path| {
            let contract = contracts.of(path);
            (contract.shape, contract.repeatable)
        };
        assert_eq!(of("/shop.v1.Cards/Charge"), (Shape::Unary, false));
        assert_eq!(of("/shop.v1.Cards/Keep"), (Shape::Unary, false));
        assert_eq!(of("/shop.v1.Cards/Get"), (Shape::Unary, true));
        assert_eq!(of("/shop.v1.Cards/Void"), (Shape::Unary, true));
        assert_eq!(of("/shop.v1.Cards/Watch"), (Shape::Stream, true));
        assert_eq!(of("/Bare/Do"), (Shape::Unary, false));
        assert_eq!(of("/shop.v1.Cards/Other"), (Shape::Unknown, true));
        assert!(Contracts::read(b"no descriptors").is_err());
    }
}
