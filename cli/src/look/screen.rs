//! What `mizan top` shows of the services on a screen of a size, and what keys do to it: the sick
//! first, as many as fit.

use super::show;
use crate::terminal::fit;

/// Lines of the screen that are no services: the sum, the keys, a blank, the head of the table.
const HEAD_LINES: usize = 4;

/// The most characters of a filter.
const FILTER_CHARS_MAX: usize = 64;

/// A key, or what a terminal sends in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Backspace,
    Escape,
    /// Ctrl-C, Ctrl-D.
    Quit,
}

/// What the keys mean that a terminal sent together.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    let mut keys = Vec::new();
    let sequences = [
        ("\x1b[A", Key::Up),
        ("\x1b[B", Key::Down),
        ("\x1bOA", Key::Up),
        ("\x1bOB", Key::Down),
        ("\x1b[5~", Key::PageUp),
        ("\x1b[6~", Key::PageDown),
        ("\x1b[H", Key::Home),
        ("\x1b[F", Key::End),
        ("\x1b[1~", Key::Home),
        ("\x1b[4~", Key::End),
        ("\x1b", Key::Escape),
        ("\x03", Key::Quit),
        ("\x04", Key::Quit),
        ("\r", Key::Enter),
        ("\n", Key::Enter),
        ("\x7f", Key::Backspace),
        ("\x08", Key::Backspace),
    ];
    'next: while !rest.is_empty() {
        for (sequence, key) in sequences {
            if let Some(after) = rest.strip_prefix(sequence) {
                keys.push(key);
                rest = after;
                continue 'next;
            }
        }
        let mut chars = rest.chars();
        keys.extend(chars.next().filter(|c| !c.is_control()).map(Key::Char));
        rest = chars.as_str();
    }
    keys
}

/// The screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Screen {
    services: Vec<show::Service>,
    /// Those whose name has this in it.
    filter: String,
    /// Whether keys are written into the filter.
    typing: bool,
    /// How many are above the screen.
    above: usize,
    /// Rows and columns.
    size: (usize, usize),
}

impl Screen {
    /// The services as they are now.
    pub(super) fn set(&mut self, mut services: Vec<show::Service>) {
        show::sick_first(&mut services);
        self.services = services;
        self.scroll(0);
    }

    /// Rows and columns.
    pub(super) fn resize(&mut self, rows: usize, columns: usize) {
        self.size = (rows, columns);
        self.scroll(0);
    }

    /// Takes a key; whether to go on.
    pub(super) fn press(&mut self, key: Key) -> bool {
        let page = isize::try_from(self.room()).unwrap_or(isize::MAX);
        match key {
            Key::Quit => return false,
            Key::Up => self.scroll(-1),
            Key::Down => self.scroll(1),
            Key::PageUp => self.scroll(-page),
            Key::PageDown => self.scroll(page),
            Key::Home => self.above = 0,
            Key::End => self.scroll(isize::MAX),
            Key::Escape => {
                self.above = 0;
                self.filter.clear();
                self.typing = false;
            }
            Key::Enter => self.typing = false,
            Key::Backspace if self.typing => {
                self.above = 0;
                self.filter.pop();
            }
            Key::Char(c) if self.typing => {
                self.above = 0;
                if self.filter.chars().count() < FILTER_CHARS_MAX {
                    self.filter.push(c);
                }
            }
            Key::Char('q') => return false,
            Key::Char('/') => self.typing = true,
            Key::Char('k') => self.scroll(-1),
            Key::Char('j') => self.scroll(1),
            Key::Char('b') => self.scroll(-page),
            Key::Char(' ') => self.scroll(page),
            Key::Char('g') => self.above = 0,
            Key::Char('G') => self.scroll(isize::MAX),
            Key::Char(_) | Key::Backspace => {}
        }
        self.scroll(0);
        true
    }

    /// As many lines as the screen has at most, none longer than it is wide.
    pub(super) fn lines(&self) -> Vec<String> {
        let (rows, columns) = self.size;
        let shown = self.shown();
        let part: Vec<_> = shown.iter().skip(self.above).take(self.room()).collect();
        let mut first = show::total(&self.services);
        if part.len() < shown.len() {
            let (from, to) = (self.above + 1, self.above + part.len());
            first = format!("{first} · {from}-{to} of {}", shown.len());
        }
        let second = match (self.typing, &*self.filter) {
            (true, filter) => format!("/{filter}_  Enter keeps it, Esc ends it"),
            (false, "") => "q quits · arrows, space and b scroll · / filters".to_owned(),
            (false, filter) => format!("only those with \"{filter}\" · Esc shows all · q quits"),
        };
        let part: Vec<_> = part.into_iter().map(|one| (*one).clone()).collect();
        let table = match (part.is_empty(), self.filter.is_empty()) {
            (true, false) => "no service has that in its name\n".to_owned(),
            _ => show::services(&part),
        };
        let head = [first, second, String::new()];
        let lines = head.into_iter().chain(table.lines().map(str::to_owned));
        lines.take(rows).map(|line| fit(&line, columns)).collect()
    }

    fn shown(&self) -> Vec<&show::Service> {
        let filter = self.filter.to_lowercase();
        let services = self.services.iter();
        services
            .filter(|service| service.name().to_lowercase().contains(&filter))
            .collect()
    }

    /// How many services fit.
    fn room(&self) -> usize {
        self.size.0.saturating_sub(HEAD_LINES).max(1)
    }

    fn scroll(&mut self, by: isize) {
        let most = self.shown().len().saturating_sub(self.room());
        self.above = self.above.saturating_add_signed(by).min(most);
    }
}

#[cfg(test)]
mod tests {
    use mizan_contracts::registry::v1 as pb;

    use super::*;

    fn service(name: &str, passing: u32, critical: u32) -> show::Service {
        show::Service::from(pb::ServiceSummary {
            service: name.to_owned(),
            instances: passing + critical,
            passing,
            critical,
            ..pb::ServiceSummary::default()
        })
    }

    /// 1,503 services of which one is sick, on a screen of 24 lines.
    fn screen() -> Screen {
        let mut services: Vec<_> = (0..1_502)
            .map(|n| service(&format!("s{n:04}"), 3, 0))
            .collect();
        services.push(service("zebra", 2, 1));
        let mut screen = Screen::default();
        screen.resize(24, 80);
        screen.set(services);
        screen
    }

    fn names(screen: &Screen) -> Vec<String> {
        let lines = screen.lines().into_iter().skip(HEAD_LINES);
        let words = lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned());
        words.collect()
    }

    #[test]
    fn the_sick_one_of_fifteen_hundred_is_first_and_all_fits() {
        let screen = screen();
        let lines = screen.lines();
        assert_eq!(lines.len(), 24);
        assert!(
            lines[0].ends_with("4508 of 4509 instances passing · 1-20 of 1503"),
            "{}",
            lines[0]
        );
        assert!(lines[4].starts_with("zebra") && lines[4].ends_with("1 critical"));
        assert_eq!(names(&screen)[1], "s0000");
        for (rows, columns) in [(24, 20), (3, 80), (0, 0), (5, 7)] {
            let mut small = screen.clone();
            small.resize(rows, columns);
            let lines = small.lines();
            assert!(lines.len() <= rows);
            assert!(
                lines.iter().all(|line| line.chars().count() <= columns),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn keys_scroll_and_never_beyond_the_ends() {
        let mut screen = screen();
        for (pressed, first) in [
            (&b"k"[..], "zebra"),
            (b"\x1b[B", "s0000"),
            (b"jj", "s0002"),
            (b" ", "s0022"),
            (b"\x1b[5~", "s0002"),
            (b"G", "s1482"),
            (b"j \x1b[6~", "s1482"),
            (b"g", "zebra"),
        ] {
            assert!(keys(pressed).into_iter().all(|key| screen.press(key)));
            assert_eq!(names(&screen)[0], first, "{pressed:?}");
        }
        // Fewer than fit: what was above comes back.
        screen.press(Key::End);
        screen.set(vec![service("a", 1, 0), service("b", 1, 0)]);
        assert_eq!(names(&screen), ["a", "b"]);
        for quits in [&b"q"[..], b"\x03", b"\x04"] {
            assert!(!screen.clone().press(keys(quits)[0]));
        }
    }

    #[test]
    fn a_filter_is_typed_kept_and_ended() {
        let mut screen = screen();
        let mut press = |bytes: &[u8]| {
            assert!(keys(bytes).into_iter().all(|key| screen.press(key)));
            names(&screen)
        };
        // Letters that mean something else are letters while typing.
        assert_eq!(press(b"j/qj"), Vec::<String>::new());
        assert_eq!(press(b"\x7f\x7fS150"), ["s1500", "s1501"]);
        assert_eq!(press(b"\rj"), ["s1500", "s1501"]);
        assert_eq!(press(b"\x1b").len(), 20);
        assert!(screen.lines()[1].starts_with("q quits"));
    }

    #[test]
    fn whatever_a_terminal_sends_is_some_keys() {
        assert_eq!(keys(b"\x1bOA\x1bOB"), [Key::Up, Key::Down]);
        assert_eq!(keys("é\x00".as_bytes()), [Key::Char('é')]);
        assert_eq!(keys(b"\xff").len(), 1);
        assert_eq!(keys(b""), []);
    }
}
