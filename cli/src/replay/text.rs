//! From a file's bytes to text: spending files come in UTF-8, in UTF-16 and in Windows-1252.

use std::borrow::Cow;

use encoding_rs::{Encoding, WINDOWS_1252};

/// The file as text, without a byte order mark.
///
/// A byte order mark decides; without one, valid UTF-8 is UTF-8 and anything else is
/// Windows-1252, in which every byte means something, so that no file is unreadable.
pub(crate) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, mark: [u8; 2], unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.into_iter()
            .chain(text.encode_utf16().flat_map(unit))
            .collect()
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "Supplier,£\r\nCafé Noir,5.00";
        let mut with_mark = b"\xEF\xBB\xBF".to_vec();
        with_mark.extend(text.as_bytes());
        let latin: Vec<u8> = text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect();
        for bytes in [
            text.as_bytes().to_vec(),
            with_mark,
            utf16(text, [0xFF, 0xFE], u16::to_le_bytes),
            utf16(text, [0xFE, 0xFF], u16::to_be_bytes),
            latin,
        ] {
            assert_eq!(decode(&bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn the_punctuation_of_windows_is_known() {
        assert_eq!(decode(b"\x93St John\x92s\x94 \x96 \x80"), "“St John’s” – €");
    }

    #[test]
    fn half_a_unit_of_utf_16_is_no_panic() {
        assert_eq!(decode(b"\xFF\xFEa"), "\u{FFFD}");
    }
}
