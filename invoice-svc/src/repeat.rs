//! Requests that come again: which field differs from what was asked the first time.

use mizan_contracts::invoice::v1::{
    CreateInvoiceRequest, FinalizeInvoiceRequest, RecordInvoicePaymentRequest, VoidInvoiceRequest,
};
use prost::Message;

/// A request that changes something.
pub(crate) trait Mutation: Message + Default {
    /// Its fields but for the request id, in the order of the contract, each with whether it is the
    /// same in `other`.
    fn compared(&self, other: &Self) -> Vec<(&'static str, bool)>;

    /// The first field in which the request differs from the one of `body`.
    fn first_difference(&self, body: &[u8]) -> &'static str {
        let differing = Self::decode(body).ok().and_then(|first| {
            let fields = self.compared(&first).into_iter();
            fields
                .filter(|(_, same)| !same)
                .map(|(name, _)| name)
                .next()
        });
        // A body that tells nothing: then the id itself is what is wrong.
        differing.unwrap_or("request_id")
    }
}

impl Mutation for CreateInvoiceRequest {
    fn compared(&self, other: &Self) -> Vec<(&'static str, bool)> {
        vec![
            ("document_type", self.document_type == other.document_type),
            ("party", self.party == other.party),
            ("lines", self.lines == other.lines),
            ("reference", self.reference == other.reference),
            ("metadata", self.metadata == other.metadata),
        ]
    }
}

impl Mutation for FinalizeInvoiceRequest {
    fn compared(&self, other: &Self) -> Vec<(&'static str, bool)> {
        vec![
            ("invoice_id", self.invoice_id == other.invoice_id),
            ("etag", self.etag == other.etag),
        ]
    }
}

impl Mutation for RecordInvoicePaymentRequest {
    fn compared(&self, other: &Self) -> Vec<(&'static str, bool)> {
        vec![
            ("invoice_id", self.invoice_id == other.invoice_id),
            ("amount", self.amount == other.amount),
            ("reference", self.reference == other.reference),
            ("etag", self.etag == other.etag),
        ]
    }
}

impl Mutation for VoidInvoiceRequest {
    fn compared(&self, other: &Self) -> Vec<(&'static str, bool)> {
        vec![
            ("invoice_id", self.invoice_id == other.invoice_id),
            ("reason", self.reason == other.reason),
            ("etag", self.etag == other.etag),
            ("allow_missing", self.allow_missing == other.allow_missing),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_read_blames_the_id() {
        let request = VoidInvoiceRequest::default();
        assert_eq!(request.first_difference(&[0xff]), "request_id");
    }

    /// A field that the contract gains and this module forgets makes this fail.
    #[test]
    fn every_field_of_the_contract_is_compared() {
        fn names<M: Mutation>() -> Vec<&'static str> {
            let fields = M::default().compared(&M::default()).into_iter();
            fields.map(|(name, _)| name).collect()
        }
        let files = prost_types::FileDescriptorSet::decode(mizan_contracts::FILE_DESCRIPTOR_SET);
        let files = files.unwrap().file;
        let fields = |message: &str| -> Vec<String> {
            let mut messages = files.iter().flat_map(|f| &f.message_type);
            let found = messages.find(|m| m.name() == message).unwrap();
            let names = found.field.iter().map(|f| f.name().to_owned());
            names.filter(|name| name != "request_id").collect()
        };
        assert_eq!(
            fields("CreateInvoiceRequest"),
            names::<CreateInvoiceRequest>()
        );
        assert_eq!(
            fields("FinalizeInvoiceRequest"),
            names::<FinalizeInvoiceRequest>()
        );
        assert_eq!(
            fields("RecordInvoicePaymentRequest"),
            names::<RecordInvoicePaymentRequest>()
        );
        assert_eq!(fields("VoidInvoiceRequest"), names::<VoidInvoiceRequest>());
    }
}
