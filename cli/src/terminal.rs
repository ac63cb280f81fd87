//! Writing to the terminal, or to whatever is in its place.

use std::io::{self, IsTerminal as _, Write as _};

/// Writes to standard output. A reader that went away, as in `mizan services | head -1`, is no
/// reason to fail.
pub(crate) fn print(text: &str) {
    let _ = try_print(text);
}

/// Writes to standard output, and tells whether anybody still reads.
pub(crate) fn try_print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one line to standard error.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The most characters of a cell: what others wrote may be a page of HTML.
const CELL_CHARS_MAX: usize = 160;

/// What somebody else wrote, in a line that does nothing to the terminal: no control characters, none
/// that turn the direction of writing, and no more than fits.
pub(crate) fn inert(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let mut shown = String::with_capacity(text.len().min(CELL_CHARS_MAX));
    let mut chars = 0;
    for c in text.chars() {
        if chars == CELL_CHARS_MAX {
            shown.push('…');
            break;
        }
        if c.is_whitespace() {
            // Line ends and tabs, and those that follow each other, are one space.
            if shown.ends_with(' ') {
                continue;
            }
            shown.push(' ');
        } else if c.is_control() || turns(c) {
            shown.push('\u{fffd}');
        } else {
            shown.push(c);
        }
        chars += 1;
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// Whether standard error takes colours: it is a terminal, and nobody said otherwise
/// (<https://no-color.org>).
pub(crate) fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

/// Lines of cells, each column as wide as its widest cell. The first line is the header.
pub(crate) fn table<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (column, cell) in line.iter().enumerate() {
            let wide = width(column).unwrap_or(0);
            row.push_str(&format!("{cell:<wide$}  "));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_nothing_to_the_terminal() {
        for (wrote, shown) in [
            ("plain words, é and 漢", "plain words, é and 漢"),
            ("\x1b[2J\x1b[Hgone", "\u{fffd}[2J\u{fffd}[Hgone"),
            ("\u{9b}31mred", "\u{fffd}31mred"),
            ("one\ntwo\r\n\tthree  four\n", "one two three four"),
            ("payment-1\rFORGED", "payment-1 FORGED"),
            ("\u{202e}live", "\u{fffd}live"),
            ("bell\x07 \x7f", "bell\u{fffd} \u{fffd}"),
        ] {
            assert_eq!(inert(wrote), shown, "{wrote:?}");
        }
        let page = inert(&"<p>long</p>\n".repeat(1_000));
        assert_eq!(page.chars().count(), CELL_CHARS_MAX + 1);
        assert!(page.ends_with('…'));
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let line = |cells: [&str; 3]| cells.map(str::to_owned);
        assert_eq!(
            table(&[
                line(["ID", "N", ""]),
                line(["é-1", "12", "x"]),
                line(["a", "3", ""])
            ]),
            "ID   N\né-1  12  x\na    3\n"
        );
    }
}
