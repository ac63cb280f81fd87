//! A message in the JSON of protocol buffers, by its contract's own descriptor.

use std::sync::OnceLock;

use mizan_contracts::{FILE_DESCRIPTOR_SET, invoice::v1 as wire};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};

const INVOICE: &str = "mizan.invoice.v1.Invoice";

/// The JSON of an invoice; an error says what the descriptors do not hold.
pub(super) fn write(invoice: &wire::Invoice) -> Result<String, String> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());
    let descriptor = pool.as_ref().and_then(|p| p.get_message_by_name(INVOICE));
    let descriptor = descriptor.ok_or("no descriptor of an invoice")?;
    let bytes = invoice.encode_to_vec();
    let message = DynamicMessage::decode(descriptor, &*bytes).map_err(|e| e.to_string())?;
    serde_json::to_string_pretty(&message).map_err(|e| e.to_string())
}
