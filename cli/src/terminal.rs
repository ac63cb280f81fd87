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
