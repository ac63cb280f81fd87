//! Writes XML elements one within another.

use money::Money;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

/// An XML document in the making. Writing into memory does not fail.
pub(super) struct Xml(Writer<Vec<u8>>);

impl Xml {
    /// A document whose outermost element is filled by `inner`.
    pub(super) fn document(
        name: &str,
        attributes: &[(&str, &str)],
        inner: impl FnOnce(&mut Self),
    ) -> String {
        let mut xml = Self(Writer::new_with_indent(Vec::new(), b' ', 2));
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        xml.element(name, attributes, inner);
        String::from_utf8_lossy(&xml.0.into_inner()).into_owned()
    }

    /// An element that holds others.
    pub(super) fn with(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.element(name, &[], inner);
    }

    /// An element that holds a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.noted(name, &[], text);
    }

    /// An element that holds a text, unless that is empty.
    pub(super) fn optional(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    /// An amount, with its currency.
    pub(super) fn amount(&mut self, name: &str, amount: Money) {
        let currency = amount.currency();
        let currency = [("currencyID", currency.code())];
        self.noted(name, &currency, &amount.to_decimal());
    }

    /// An element that holds a text and has attributes.
    pub(super) fn noted(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.element(name, attributes, |xml| {
            xml.event(Event::Text(BytesText::new(text)));
        });
    }

    fn element(&mut self, name: &str, attributes: &[(&str, &str)], inner: impl FnOnce(&mut Self)) {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.event(Event::Start(start));
        inner(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn event(&mut self, event: Event<'_>) {
        let written = self.0.write_event(event);
        debug_assert!(written.is_ok(), "memory takes all that is written");
    }
}
