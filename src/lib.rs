//! Mizan's gRPC contracts, generated from `proto/`: one module and one cargo feature per API.
//!
//! The comments of the `.proto` files are the documentation of what is here. The generated clients
//! take any [`tonic::client::GrpcService`]; Mizan's own is `mizan::Channel`.

/// All contracts as an encoded `google.protobuf.FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mizan.bin"));

macro_rules! contract {
    ($(#[$attr:meta])* $name:ident, $package:literal) => {
        $(#[$attr])*
        #[allow(
            missing_docs,
            missing_debug_implementations,
            unused_qualifications,
            rustdoc::all,
            clippy::all,
            clippy::allow_attributes_without_reason,
            clippy::use_self,
            reason = "generated code"
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

#[cfg(any(
    feature = "zakat",
    feature = "invoice",
    feature = "accounting",
    feature = "payment"
))]
mod amount;

/// Types that several APIs share (`mizan.type.v1`).
pub mod r#type {
    contract!(
        /// Version 1.
        v1, "mizan.r#type.v1"
    );
}

/// The service registry (`mizan.registry.v1`).
#[cfg(feature = "registry")]
pub mod registry {
    contract!(
        /// Version 1.
        v1, "mizan.registry.v1"
    );
}

/// Zakat calculation (`mizan.zakat.v1`).
#[cfg(feature = "zakat")]
pub mod zakat {
    contract!(
        /// Version 1.
        v1, "mizan.zakat.v1"
    );
}

/// Invoices (`mizan.invoice.v1`).
#[cfg(feature = "invoice")]
pub mod invoice {
    contract!(
        /// Version 1.
        v1, "mizan.invoice.v1"
    );
}

/// Double-entry accounting (`mizan.accounting.v1`).
#[cfg(feature = "accounting")]
pub mod accounting {
    contract!(
        /// Version 1.
        v1, "mizan.accounting.v1"
    );
}

/// Payments (`mizan.payment.v1`).
#[cfg(feature = "payment")]
pub mod payment {
    contract!(
        /// Version 1.
        v1, "mizan.payment.v1"
    );
}
