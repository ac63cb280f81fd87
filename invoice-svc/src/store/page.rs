//! A page of a list, bounded in invoices and in bytes.

use super::row::Row;
use crate::domain::Record;

/// The most bytes of one page: of what is read for it, and, measured again by the service, of what is
/// answered. So it stays within the 4 MiB that gRPC clients accept by default. A page has at least one
/// invoice, which alone can be more: up to 10 MB (docs/INVOICES.md, Lists).
pub const PAGE_BYTES_MAX: usize = 3 << 20;

/// Where a page of a list begins, and how long it is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// After this place in the order of the list.
    pub after: i64,
    /// Whether that order is the one of creation.
    pub oldest_first: bool,
    /// The most invoices of the page.
    pub limit: u32,
}

/// Some of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// The invoices, each with its place: the next page begins after the last one that was used.
    pub records: Vec<(i64, Record)>,
    /// Whether there are more after them.
    pub more: bool,
}

/// A page that is being read, row by row.
#[derive(Debug)]
pub(super) struct Reading {
    page: Page,
    limit: usize,
    bytes: usize,
}

impl Reading {
    pub(super) fn new(place: Place) -> Self {
        Self {
            page: Page::default(),
            limit: usize::try_from(place.limit).unwrap_or(usize::MAX),
            bytes: 0,
        }
    }

    /// How many rows it still takes; one more than the page has room for tells whether there is a
    /// next one.
    pub(super) fn ahead(&self) -> i64 {
        let ahead = self.limit - self.page.records.len() + 1;
        i64::try_from(ahead).unwrap_or(i64::MAX)
    }

    /// Takes the next row; answers whether the page goes on.
    pub(super) fn take(&mut self, place: i64, row: Row) -> Result<bool, String> {
        self.bytes = self.bytes.saturating_add(row.bytes());
        let begun = !self.page.records.is_empty();
        if self.page.records.len() == self.limit || (begun && self.bytes > PAGE_BYTES_MAX) {
            self.page.more = true;
            return Ok(false);
        }
        self.page.records.push((place, row.record()?));
        Ok(true)
    }

    pub(super) fn page(self) -> Page {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Document, Invoice, Micros,
        samples::{line, spec},
    };

    fn row(bytes: usize) -> Row {
        let mut asked = spec(&[line("1", 1, "0")]);
        asked.note = "n".repeat(bytes);
        let document = Document::new(asked).unwrap();
        let draft = Invoice::draft("i".to_owned(), document, Micros(1)).unwrap();
        Row::invoice(&draft).unwrap()
    }

    /// How many of ten rows of so many bytes a page of at most five takes, and whether it says that
    /// there are more.
    fn taken(bytes: usize) -> (usize, bool) {
        let mut reading = Reading::new(Place {
            after: 0,
            oldest_first: true,
            limit: 5,
        });
        let mut places = 1..=10;
        while let Some(place) = places.next()
            && reading.take(place, row(bytes)).unwrap()
        {}
        let page = reading.page();
        (page.records.len(), page.more)
    }

    #[test]
    fn no_more_is_read_than_a_page_holds_but_one_invoice_always() {
        assert_eq!(taken(1), (5, true));
        assert_eq!(taken(PAGE_BYTES_MAX / 4), (3, true));
        assert_eq!(taken(PAGE_BYTES_MAX / 2), (1, true));
        assert_eq!(taken(2 * PAGE_BYTES_MAX), (1, true));
    }
}
