//! Whether a client owes the rest of what it began to say: the beginning of HTTP/2, or a frame.
//!
//! The HTTP/2 library waits without end for the rest of a frame. This follows the bytes as they are
//! read, from one frame's head to the next, and looks at nothing else.

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's head.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What was read of a connection so far.
#[derive(Debug)]
pub(super) struct Frames {
    at: At,
    /// Headers were begun and go on in another frame.
    in_headers: bool,
    /// How often it began to owe something.
    begun: u64,
}

/// Where in a connection the next byte is.
#[derive(Debug, Clone, Copy)]
enum At {
    /// So many bytes of the preface were read.
    Preface(usize),
    /// It is not HTTP/2: HTTP/1's headers have a time of their own.
    Elsewhere,
    /// In a frame's head, of which so many bytes are here.
    Head([u8; HEAD], usize),
    /// In a frame's payload, before so many bytes of it.
    Payload { kind: u8, left: usize },
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            at: At::Preface(0),
            in_headers: false,
            begun: 1,
        }
    }
}

impl Frames {
    /// While the client owes the rest of something: the number of it. What a call's DATA brings has
    /// the call's own time.
    pub(super) fn owed(&self) -> Option<u64> {
        self.is_owed().then_some(self.begun)
    }

    fn is_owed(&self) -> bool {
        match self.at {
            At::Elsewhere => false,
            At::Preface(_) => true,
            At::Head(_, read) => read > 0 || self.in_headers,
            At::Payload { kind, .. } => kind != DATA || self.in_headers,
        }
    }

    /// More bytes were read.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            match self.at {
                At::Elsewhere => return,
                At::Preface(read) if PREFACE.get(read) != Some(first) => {
                    self.at = At::Elsewhere;
                    return;
                }
                At::Preface(read) => {
                    bytes = &bytes[1..];
                    // SETTINGS belong to the beginning: the same thing is owed on.
                    self.at = if read + 1 == PREFACE.len() {
                        self.in_headers = true;
                        At::Head([0; HEAD], 0)
                    } else {
                        At::Preface(read + 1)
                    };
                }
                At::Head(mut head, read) => {
                    if !self.is_owed() {
                        self.begun += 1;
                    }
                    let more = bytes.len().min(HEAD - read);
                    head[read..read + more].copy_from_slice(&bytes[..more]);
                    bytes = &bytes[more..];
                    self.at = At::Head(head, read + more);
                    if read + more == HEAD {
                        self.enter(head);
                    }
                }
                At::Payload { kind, left } => {
                    let more = bytes.len().min(left);
                    bytes = &bytes[more..];
                    self.go_to(kind, left - more);
                }
            }
        }
    }

    /// A frame's head is whole.
    fn enter(&mut self, [a, b, c, kind, flags, ..]: [u8; HEAD]) {
        match kind {
            HEADERS | CONTINUATION => self.in_headers = flags & END_HEADERS == 0,
            // Between HEADERS and CONTINUATION nothing else may come; the library ends it.
            _ => self.in_headers = false,
        }
        let length = (usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c);
        self.go_to(kind, length);
    }

    fn go_to(&mut self, kind: u8, left: usize) {
        self.at = if left == 0 {
            At::Head([0; HEAD], 0)
        } else {
            At::Payload { kind, left }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 4;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend(payload);
        bytes
    }

    fn begun() -> Vec<u8> {
        [PREFACE.to_vec(), frame(SETTINGS, 0, &[])].concat()
    }

    fn after(bytes: &[u8]) -> Frames {
        let mut frames = Frames::default();
        frames.read(bytes);
        frames
    }

    #[test]
    fn what_is_whole_owes_nothing_and_what_is_not_does() {
        let with = |more: &[u8]| [begun(), more.to_vec()].concat();
        let headers = frame(HEADERS, END_HEADERS, b"head");
        let half = frame(HEADERS, 0, b"he");
        let rest = frame(CONTINUATION, END_HEADERS, b"ad");
        for whole in [
            begun(),
            with(&headers),
            with(&[half.clone(), rest.clone()].concat()),
            with(&[headers.clone(), frame(DATA, 0, b"part")].concat()),
            // An upload takes the time of its call.
            with(&[headers.clone(), frame(DATA, 0, b"part")[..11].to_vec()].concat()),
            b"GET / HTTP/1.1\r\nhost:".to_vec(),
            b"PRI * HTTP/1.1\r\n".to_vec(),
        ] {
            assert_eq!(after(&whole).owed(), None, "{whole:?}");
        }
        for part in [
            Vec::new(),
            b"PRI * HT".to_vec(),
            PREFACE.to_vec(),
            begun()[..PREFACE.len() + 4].to_vec(),
            with(&headers[..4]),
            with(&headers[..11]),
            with(&half),
            with(&[half.clone(), rest[..3].to_vec()].concat()),
            with(&[half.clone(), frame(CONTINUATION, 0, b"a")].concat()),
            with(&frame(8, 0, &[0, 0, 0, 1])[..10]),
        ] {
            assert!(after(&part).owed().is_some(), "{part:?}");
        }
    }

    #[test]
    fn it_is_one_debt_until_it_is_whole_however_many_pieces_it_comes_in() {
        let mut frames = Frames::default();
        let beginning = frames.owed();
        for byte in &begun()[..PREFACE.len() + HEAD - 1] {
            frames.read(&[*byte]);
            assert_eq!(frames.owed(), beginning);
        }
        frames.read(&[0]);
        assert_eq!(frames.owed(), None);
        let block = [
            frame(HEADERS, 0, b"he"),
            frame(CONTINUATION, 0, b"a"),
            frame(CONTINUATION, END_HEADERS, b"d"),
        ]
        .concat();
        let (last, all_but_last) = block.split_last().unwrap();
        let mut debts = Vec::new();
        for byte in all_but_last {
            frames.read(&[*byte]);
            debts.push(frames.owed().unwrap());
        }
        assert!(debts.iter().all(|debt| *debt == debts[0]));
        assert_ne!(Some(debts[0]), beginning);
        // Whole, and the next one begun in the same read: that is another debt.
        frames.read(&[*last, 0, 0]);
        assert!(frames.owed().unwrap() > debts[0]);
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut bytes = begun();
            for _ in 0..random.usize(..6) {
                let kind = random.u8(..10);
                let payload: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
                bytes.extend(frame(kind, random.u8(..) & END_HEADERS, &payload));
            }
            bytes.truncate(random.usize(..=bytes.len()));
            let mut pieces = Frames::default();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(1..=rest.len()));
                pieces.read(piece);
                rest = after;
            }
            assert_eq!(pieces.owed(), after(&bytes).owed());
        }
    }
}
