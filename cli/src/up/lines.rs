//! The children's log lines, each behind its process' name.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::terminal::say_log;

/// The colours of names on a terminal: those that read well on dark and on light.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// The width of the longest name, `accounting-1`.
const NAME_WIDTH: usize = 12;

/// What stands before every line of a process.
pub(super) fn prefix(name: &str, index: usize, colours: bool) -> String {
    if colours {
        let colour = COLOURS[index % COLOURS.len()];
        format!("\u{1b}[{colour}m{name:<NAME_WIDTH$} |\u{1b}[0m ")
    } else {
        format!("{name:<NAME_WIDTH$} | ")
    }
}

/// The last line that a process wrote: when it dies, that is why.
#[derive(Debug, Clone, Default)]
pub(super) struct LastLine(Arc<Mutex<String>>);

impl LastLine {
    pub(super) fn get(&self) -> String {
        self.0.lock().clone()
    }
}

/// Passes lines on until the process closes its end.
pub(super) async fn forward(from: impl AsyncRead + Unpin, prefix: String, last: LastLine) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        if !text.is_empty() {
            say_log(&prefix, &text);
            *last.0.lock() = text.into_owned();
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_aligned_and_coloured_only_when_wanted() {
        assert_eq!(prefix("zakat-1", 0, false), "zakat-1      | ");
        assert_eq!(prefix("accounting-1", 7, false), "accounting-1 | ");
        assert_eq!(
            prefix("zakat-1", 1, true),
            "\u{1b}[33mzakat-1      |\u{1b}[0m "
        );
    }

    #[tokio::test]
    async fn the_last_line_is_kept_whatever_its_bytes() {
        let last = LastLine::default();
        let lines: &[u8] = b"one\r\n\xFFtwo\n\n";
        forward(lines, String::new(), last.clone()).await;
        assert_eq!(last.get(), "\u{FFFD}two");
    }
}
