//! From text to records: cells, and the physical line each record starts on.

/// One record of a file: a row of it, or a title, or the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The line of the file on which it starts, from 1.
    pub(crate) line: u64,
    /// Its cells, trimmed.
    pub(crate) cells: Vec<String>,
    /// Whether a quote was opened and never closed. Then only the record's first line is in it:
    /// the quote would have swallowed the lines that follow, and they are payments.
    pub(crate) open_quote: bool,
}

impl Record {
    /// Whether every cell is empty: a blank line, or one of separators alone.
    pub(crate) fn is_blank(&self) -> bool {
        self.cells.iter().all(String::is_empty)
    }
}

/// The records of a text, in order; blank ones are among them, empty lines are not.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    text: &'a str,
    separator: u8,
    csv: csv::Reader<&'a [u8]>,
    /// Where in `text` the CSV reader began.
    base: usize,
    /// The line that begins at or before `counted`, from 1.
    line: u64,
    counted: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(text: &'a str, separator: u8) -> Self {
        Self {
            text,
            separator,
            csv: reader(text, separator),
            base: 0,
            line: 1,
            counted: 0,
        }
    }

    /// How far the CSV reader is, in bytes of the text.
    fn offset(&self) -> usize {
        let read = usize::try_from(self.csv.position().byte()).unwrap_or(usize::MAX);
        self.base.saturating_add(read).min(self.text.len())
    }

    /// The line on which the byte at `offset` stands. Offsets never go back. A line ends with
    /// `\n`, `\r\n` or a lone `\r`, as the CSV reader sees it too.
    fn line_at(&mut self, offset: usize) -> u64 {
        let bytes = self.text.as_bytes();
        for at in self.counted..offset {
            let ends_line = match bytes[at] {
                b'\n' => true,
                b'\r' => bytes.get(at + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends_line);
        }
        self.counted = self.counted.max(offset);
        self.line
    }

    /// Begins again at the line after the one that holds `start`, and gives the end of that line.
    fn resume_after_line(&mut self, start: usize) -> usize {
        let rest = &self.text.as_bytes()[start..];
        let length = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let end = start + length.unwrap_or(rest.len());
        self.base = end;
        self.csv = reader(&self.text[end..], self.separator);
        end
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let from = self.offset();
        let mut record = csv::ByteRecord::new();
        // Reading from memory, flexible and without UTF-8 checks, has no error left to give.
        if !self.csv.read_byte_record(&mut record).unwrap_or(false) {
            return None;
        }
        // The CSV reader's own position is before the line ends that it skips.
        let bytes = self.text.as_bytes();
        let skipped = bytes[from..]
            .iter()
            .take_while(|b| matches!(b, b'\n' | b'\r'))
            .count();
        let start = from + skipped;
        let line = self.line_at(start);
        if swallows_lines(&bytes[start..self.offset()], self.separator) {
            let end = self.resume_after_line(start);
            let cells = vec![clean(&bytes[start..end])];
            return Some(Record {
                line,
                cells,
                open_quote: true,
            });
        }
        Some(Record {
            line,
            cells: record.iter().map(clean).collect(),
            open_quote: false,
        })
    }
}

fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes())
}

/// Whether a raw record runs over several lines for no good reason: one of its quotes is never
/// closed, or something other than a separator follows the quote that closes it.
fn swallows_lines(raw: &[u8], separator: u8) -> bool {
    let mut rest = raw.trim_ascii_end();
    if !rest.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        return false;
    }
    loop {
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let Some(after) = after_quote(quoted) else {
                return true;
            };
            rest = match after.iter().position(|b| *b != b' ') {
                None => return false,
                Some(at) if after[at] == separator => &after[at + 1..],
                Some(_) => return true,
            };
        } else {
            let Some(at) = rest.iter().position(|b| *b == separator) else {
                return false;
            };
            rest = &rest[at + 1..];
        }
    }
}

/// What follows the quote that closes a cell, whose opening quote is already gone.
fn after_quote(mut quoted: &[u8]) -> Option<&[u8]> {
    loop {
        let at = quoted.iter().position(|b| *b == b'"')?;
        quoted = &quoted[at + 1..];
        match quoted.strip_prefix(b"\"") {
            Some(doubled) => quoted = doubled,
            None => return Some(quoted),
        }
    }
}

fn clean(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str) -> Vec<(u64, String)> {
        Records::new(text, b',')
            .map(|r| (r.line, r.cells.join("|")))
            .collect()
    }

    #[test]
    fn lines_are_those_of_the_file_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = [
                "title",
                "",
                "",
                "a,b",
                "\"two",
                "lines\",c",
                "",
                "d,",
                ",,",
                "",
            ]
            .join(end);
            let expected = [
                (1, "title".to_owned()),
                (4, "a|b".to_owned()),
                (5, format!("two{end}lines|c")),
                (8, "d|".to_owned()),
                (9, "||".to_owned()),
            ];
            assert_eq!(lines(&text), expected, "{end:?}");
        }
    }

    #[test]
    fn doubled_quotes_and_separators_in_quotes_are_text() {
        assert_eq!(
            lines("\"Smith \"\"Bob\"\", Jones\" , 5\n"),
            [(1, "Smith \"Bob\", Jones|5".to_owned())]
        );
    }

    #[test]
    fn an_open_quote_costs_its_own_line_and_no_other() {
        let records: Vec<Record> = Records::new("a,1\nb,\"open\nc,2\nd,3\n", b',').collect();
        let lines: Vec<u64> = records.iter().map(|r| r.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
        assert!(records[1].open_quote);
        assert_eq!(records[2].cells, ["c", "2"]);
    }

    #[test]
    fn an_open_quote_that_a_later_row_closes_is_noticed() {
        let records: Vec<Record> = Records::new("\"open,1\nb,2\n\"c\",3\n", b',').collect();
        let seen: Vec<_> = records.iter().map(|r| (r.line, r.open_quote)).collect();
        assert_eq!(seen, [(1, true), (2, false), (3, false)]);
    }

    #[test]
    fn two_open_quotes_do_not_make_one_row_of_two() {
        let records: Vec<Record> = Records::new("\"open,1\n\"too,2\nc,3\n", b',').collect();
        let seen: Vec<_> = records.iter().map(|r| (r.line, r.open_quote)).collect();
        assert_eq!(seen, [(1, true), (2, true), (3, false)]);
    }

    #[test]
    fn a_quote_within_a_cell_is_text() {
        let records: Vec<Record> = Records::new("5\" pipe,1\n6\" pipe,2\n", b',').collect();
        assert_eq!(records[1].cells, ["6\" pipe", "2"]);
    }

    proptest! {
        #[test]
        fn lines_go_up_and_none_is_beyond_the_end(text in "[a\",;\r\n ]{0,60}") {
            let line_count = u64::try_from(text.len()).unwrap() + 1;
            let mut last = 0;
            for record in Records::new(&text, b',') {
                prop_assert!(record.line > last && record.line <= line_count);
                last = record.line;
            }
        }
    }
}
