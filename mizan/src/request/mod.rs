//! Reading requests: the rules that all of Mizan's contracts share (ids, texts, metadata, pages),
//! and telling in which field two requests differ.

mod difference;
mod fields;
mod page;
mod time;
mod visible;

pub use difference::first_difference;
pub use fields::{
    METADATA_MAX, document_metadata, document_text, id, metadata, reference, required_text, text,
};
pub use page::{PageToken, page_size};
pub use time::{micros, read_micros, timestamp};
pub use visible::is_invisible;
