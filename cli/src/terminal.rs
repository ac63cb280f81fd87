//! Writing to the terminal, or to whatever is in its place.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use mizan::request::is_invisible;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

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

/// Writes lines to standard output in which others may have written anything: it does nothing to the
/// terminal.
pub(crate) fn print_lines(text: &str) {
    print(&harmless(text));
}

/// The same, of JSON: what a terminal would obey is escaped, and means the same to who reads it.
pub(crate) fn print_json(document: &str) {
    print(&escaped(document));
}

/// Writes one line to standard error. What others wrote in it does nothing to the terminal.
pub(crate) fn say(line: &str) {
    say_coloured("", line);
}

/// The same, behind a prefix of our own that may have colours.
pub(crate) fn say_coloured(prefix: &str, line: &str) {
    let _ = writeln!(io::stderr().lock(), "{prefix}{}", harmless(line));
}

/// A line of a process's own log behind our prefix: it may have colours, and nothing else.
pub(crate) fn say_log(prefix: &str, line: &str) {
    let _ = writeln!(io::stderr().lock(), "{prefix}{}", coloured(line));
}

fn coloured(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut shown = harmless(parts.next().unwrap_or_default());
    for part in parts {
        let colour = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        let kept = if colour.starts_with('m') {
            "\x1b["
        } else {
            "\u{fffd}["
        };
        shown.push_str(kept);
        shown.push_str(&harmless(part));
    }
    shown
}

/// Text without what a terminal would obey, and without what nobody sees; its lines stay.
pub(crate) fn harmless(text: &str) -> String {
    let seen = |c: char| c == '\n' || !hidden(c);
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_whitespace() && !c.is_control() => ' ',
        _ => '\u{fffd}',
    };
    text.chars()
        .map(|c| if seen(c) { c } else { shown(c) })
        .collect()
}

/// JSON whose texts have no character that a terminal would obey or that nobody sees, other than by its
/// number.
pub(crate) fn escaped(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        if c == '\n' || !hidden(c) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

fn hidden(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// The most characters of a cell: what others wrote may be a page of HTML.
const CELL_CHARS_MAX: usize = 160;

/// What somebody else wrote, in a line that does nothing to the terminal: no control characters, none
/// that turn the direction of writing, and no more than fits.
pub(crate) fn inert(text: &str) -> String {
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
        } else if hidden(c) {
            shown.push('\u{fffd}');
        } else {
            shown.push(c);
        }
        chars += 1;
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// As much of a line as is so wide.
pub(crate) fn fit(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let kept = line.chars().take(columns.saturating_sub(1));
    let end = (columns > 0).then_some('…');
    kept.chain(end).collect()
}

/// A terminal whose keys are read one by one and not shown, on a page of its own. As it was before when
/// dropped.
#[derive(Debug)]
pub(crate) struct Keys(Option<Termios>);

impl Keys {
    /// From now on; the page alone when keys come from elsewhere than a terminal.
    pub(crate) fn begin() -> Self {
        let input = io::stdin();
        let before = input
            .is_terminal()
            .then(|| tcgetattr(&input).ok())
            .flatten();
        if let Some(before) = &before {
            let mut plain = before.clone();
            plain.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            let _ = tcsetattr(&input, OptionalActions::Now, &plain);
        }
        print("\x1b[?1049h\x1b[?25l");
        Self(before)
    }

    /// What is typed, as it comes, from a thread that ends with the process.
    pub(crate) fn read(&self) -> mpsc::Receiver<Vec<u8>> {
        let (typed, keys) = mpsc::channel(16);
        if self.0.is_some() {
            std::thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = io::stdin().lock().read(&mut bytes) {
                    if typed.blocking_send(bytes[..count].to_vec()).is_err() {
                        return;
                    }
                }
            });
        }
        keys
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        print("\x1b[?25h\x1b[?1049l");
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The rows and columns of the terminal that is written to.
pub(crate) fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            (usize::from(size.ws_row), usize::from(size.ws_col))
        }
        _ => (24, 80),
    }
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
    fn lines_stay_and_nothing_else_of_what_a_terminal_obeys() {
        for (wrote, shown) in [
            ("one\ntwo\n", "one\ntwo\n"),
            ("a\tb\r\x1b[31m", "a b\u{fffd}\u{fffd}[31m"),
            ("\u{9b}2J\u{202e}x\u{200b}", "\u{fffd}2J\u{fffd}x\u{fffd}"),
            ("a\u{a0}b", "a b"),
        ] {
            assert_eq!(harmless(wrote), shown, "{wrote:?}");
        }
    }

    #[test]
    fn a_log_keeps_its_colours_alone() {
        for (wrote, shown) in [
            ("\x1b[1;31mred\x1b[0m é", "\x1b[1;31mred\x1b[0m é"),
            ("\x1b[2Jgone\x1b[H", "\u{fffd}[2Jgone\u{fffd}[H"),
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("\x1b[38;5;1", "\u{fffd}[38;5;1"),
        ] {
            assert_eq!(coloured(wrote), shown, "{wrote:?}");
        }
    }

    #[test]
    fn json_says_the_same_and_does_nothing_to_the_terminal() {
        let wrote = "\u{9b}31m \u{7f} \u{202e}live \u{e0041} \x1b[2J é漢🚀\n";
        let document = serde_json::to_string_pretty(&[wrote]).unwrap();
        let shown = escaped(&document);
        assert!(!shown.chars().any(|c| c != '\n' && hidden(c)), "{shown:?}");
        assert!(
            shown.contains("é漢🚀") && shown.contains("\\u202e"),
            "{shown}"
        );
        let read: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, [wrote]);
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
