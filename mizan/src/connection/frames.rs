//! What the peer's frames say that an HTTP/2 library keeps to itself: that it speaks HTTP/2 at all,
//! how much it takes, when it is done with a stream, and how it says goodbye. Pure: bytes in,
//! observations out.
//!
//! A server's first frame must be SETTINGS (RFC 9113, 3.4), so it is the proof of a usable
//! connection. After that only the frames' headers are looked at, SETTINGS and GOAWAY.

/// A GOAWAY: the peer takes no new streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoAway {
    /// Streams above this were not and will not be processed.
    pub(crate) last_stream: u32,
    /// Why, by RFC 9113, 7; 0 is a graceful end.
    pub(crate) code: u32,
    /// What the peer adds in its own words, its beginning.
    pub(crate) debug: Vec<u8>,
}

/// ENHANCE_YOUR_CALM.
const CALM: u32 = 0xb;
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

impl GoAway {
    /// Whether the peer was pinged more often than it likes (gRFC A8).
    pub(crate) fn is_too_many_pings(&self) -> bool {
        self.code == CALM && self.debug == TOO_MANY_PINGS
    }
}

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// The peer speaks HTTP/2 and is ready for requests; or it changes what it takes.
    Settings(Settings),
    /// The peer has said all it will on this stream.
    Ended(u32),
    /// It does not; says what it does instead.
    Stranger(&'static str),
    /// It is going.
    GoAway(GoAway),
}

/// What a peer's SETTINGS say of the requests it takes; what they leave out stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// How many streams may be open at once.
    pub(super) streams_max: Option<u32>,
    /// The most bytes of headers that a request may have, as RFC 9113, 6.5.2 counts them.
    pub(super) headers_max: Option<u32>,
}

const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const GOAWAY: u8 = 7;
/// By RFC 9113, 6.5.2.
const MAX_CONCURRENT_STREAMS: u16 = 3;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// The largest frame that a peer may send us.
const SETTINGS_KEPT: usize = 1 << 14;
/// Last stream and code, and of the debug data enough to recognise it.
const GOAWAY_KEPT: usize = 8 + 120;

/// Reads frames' headers from bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    filled: usize,
    /// How much of the frame's payload is still to come.
    payload: usize,
    /// The payload, so far, of a frame that is read.
    kept: Option<Kept>,
    phase: Phase,
}

/// The beginning of a payload.
#[derive(Debug)]
enum Kept {
    Settings(Vec<u8>),
    GoAway(Vec<u8>),
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let (kept, max) = match self {
            Self::Settings(kept) => (kept, SETTINGS_KEPT),
            Self::GoAway(kept) => (kept, GOAWAY_KEPT),
        };
        let room = max.saturating_sub(kept.len());
        kept.extend(bytes.iter().take(room));
    }

    fn seen(self) -> Option<Seen> {
        match self {
            Self::Settings(payload) => Some(Seen::Settings(settings(&payload))),
            Self::GoAway(payload) => goodbye(&payload).map(Seen::GoAway),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    First,
    Later,
    /// Not HTTP/2: nothing more is understood.
    Lost,
}

impl Frames {
    /// Takes what was read and tells what it means.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Seen)) {
        while !bytes.is_empty() && self.phase != Phase::Lost {
            if self.payload > 0 {
                let (passed, rest) = bytes.split_at(self.payload.min(bytes.len()));
                self.payload -= passed.len();
                if let Some(kept) = &mut self.kept {
                    kept.take(passed);
                }
                bytes = rest;
            } else {
                let missing = HEADER - self.filled;
                let (passed, rest) = bytes.split_at(missing.min(bytes.len()));
                for (place, byte) in self.header.iter_mut().skip(self.filled).zip(passed) {
                    *place = *byte;
                }
                self.filled += passed.len();
                bytes = rest;
                if self.filled == HEADER {
                    self.begin(&mut tell);
                }
            }
            if self.payload == 0
                && let Some(seen) = self.kept.take().and_then(Kept::seen)
            {
                tell(seen);
            }
        }
    }

    /// A frame's header is complete.
    fn begin(&mut self, tell: &mut impl FnMut(Seen)) {
        let [l0, l1, l2, kind, flags, stream @ ..] = self.header;
        self.filled = 0;
        let settings = kind == SETTINGS && flags & ACK == 0;
        if self.phase == Phase::First {
            if !settings || stream != [0; 4] {
                self.phase = Phase::Lost;
                return tell(Seen::Stranger(language(&self.header)));
            }
            self.phase = Phase::Later;
        }
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        self.payload = usize::try_from(length).unwrap_or(usize::MAX);
        self.kept = match kind {
            SETTINGS if settings => Some(Kept::Settings(Vec::new())),
            GOAWAY => Some(Kept::GoAway(Vec::new())),
            _ => None,
        };
        let last = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if last || kind == RST_STREAM {
            tell(Seen::Ended(u32::from_be_bytes(stream) & ID));
        }
    }
}

/// The highest bit of a stream's number is reserved.
const ID: u32 = u32::MAX >> 1;

fn settings(payload: &[u8]) -> Settings {
    let mut settings = Settings::default();
    for entry in payload.chunks_exact(6) {
        let &[k0, k1, v0, v1, v2, v3] = entry else {
            break;
        };
        let value = Some(u32::from_be_bytes([v0, v1, v2, v3]));
        match u16::from_be_bytes([k0, k1]) {
            MAX_CONCURRENT_STREAMS => settings.streams_max = value,
            MAX_HEADER_LIST_SIZE => settings.headers_max = value,
            _ => {}
        }
    }
    settings
}

/// What the first bytes of a peer that does not speak HTTP/2 look like.
fn language(first: &[u8]) -> &'static str {
    match first {
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => "it speaks HTTP/1, not HTTP/2",
        [0x14..=0x17, 3, ..] => "it speaks TLS",
        _ => "it does not speak HTTP/2",
    }
}

fn goodbye(payload: &[u8]) -> Option<GoAway> {
    let (last, rest) = payload.split_first_chunk::<4>()?;
    let (code, debug) = rest.split_first_chunk::<4>()?;
    Some(GoAway {
        last_stream: u32::from_be_bytes(*last) & ID,
        code: u32::from_be_bytes(*code),
        debug: debug.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn goaway(last: u32, code: u32, debug: &[u8]) -> Vec<u8> {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        payload.extend(debug);
        frame(GOAWAY, 0, 0, &payload)
    }

    fn seen<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for piece in pieces {
            frames.read(piece, |s| seen.push(s));
        }
        seen
    }

    #[test]
    fn the_first_frame_must_be_settings() {
        assert_eq!(
            seen([&frame(SETTINGS, 0, 0, &[0; 6])[..]]),
            [Seen::Settings(Settings::default())]
        );
        for stranger in [
            frame(SETTINGS, ACK, 0, &[]),
            frame(SETTINGS, 0, 1, &[]),
            frame(1, 0, 1, b"headers"),
            b"220 smtp ready".to_vec(),
        ] {
            assert_eq!(
                seen([&stranger[..]]),
                [Seen::Stranger("it does not speak HTTP/2")]
            );
        }
        let old = &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..];
        assert_eq!(
            seen([old]),
            [Seen::Stranger("it speaks HTTP/1, not HTTP/2")]
        );
        let tls = &[0x15, 3, 1, 0, 2, 2, 70, 0, 0, 0][..];
        assert_eq!(seen([tls]), [Seen::Stranger("it speaks TLS")]);
        assert_eq!(seen([&b"HTTP"[..]]), [], "not yet told");
    }

    #[test]
    fn too_many_pings_is_recognised() {
        let bytes = [frame(SETTINGS, 0, 0, &[]), goaway(7, CALM, TOO_MANY_PINGS)].concat();
        let Seen::GoAway(goodbye) = seen([&bytes[..]]).remove(1) else {
            panic!("a GOAWAY")
        };
        assert!(goodbye.is_too_many_pings());
        assert_eq!(goodbye.last_stream, 7);
    }

    #[test]
    fn a_goaway_cut_short_is_none() {
        let bytes = [frame(SETTINGS, 0, 0, &[]), frame(GOAWAY, 0, 0, &[1, 2, 3])].concat();
        let settings = Seen::Settings(Settings::default());
        assert_eq!(seen([&bytes[..]]), [settings]);
    }

    #[test]
    fn what_a_peer_takes_is_read_when_all_of_it_is_there() {
        let entry = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let payload = [entry(3, 7), entry(4, 1), entry(6, 16_384), entry(3, 8)].concat();
        let whole = frame(SETTINGS, 0, 0, &payload);
        let (some, rest) = whole.split_at(20);
        assert_eq!(seen([some]), [], "half of it says nothing");
        let settings = Settings {
            streams_max: Some(8),
            headers_max: Some(16_384),
        };
        assert_eq!(seen([some, rest]), [Seen::Settings(settings)]);
    }

    #[test]
    fn the_end_of_a_stream_is_seen() {
        let bytes = [
            frame(SETTINGS, 0, 0, &[]),
            frame(SETTINGS, ACK, 0, &[]),
            frame(HEADERS, 4, 1, b"headers"),
            frame(DATA, 0, 1, b"data"),
            frame(HEADERS, 4 | END_STREAM, 1, b"trailers"),
            frame(RST_STREAM, 0, 3, &[0; 4]),
            frame(DATA, END_STREAM, 5, b""),
        ];
        let ended: Vec<_> = seen([&bytes.concat()[..]]).split_off(1);
        assert_eq!(ended, [Seen::Ended(1), Seen::Ended(3), Seen::Ended(5)]);
    }

    proptest! {
        /// However the bytes are cut, the same is seen; and nothing the peer sends can panic.
        #[test]
        fn pieces_do_not_matter(
            frames in prop::collection::vec(
                (any::<u8>(), any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)),
                0..8,
            ),
            debug in prop::collection::vec(any::<u8>(), 0..200),
            last in 0_u32..1 << 31,
            cuts in prop::collection::vec(1_usize..40, 1..200),
        ) {
            let mut bytes = frame(SETTINGS, 0, 0, &[]);
            for (kind, flags, stream, payload) in &frames {
                bytes.extend(frame(*kind, *flags, *stream, payload));
            }
            bytes.extend(goaway(last, 0, &debug));
            let whole = seen([&bytes[..]]);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(&whole, &seen(pieces));
            let kept: Vec<u8> = debug.iter().copied().take(GOAWAY_KEPT - 8).collect();
            let expected = Seen::GoAway(GoAway { last_stream: last, code: 0, debug: kept });
            prop_assert_eq!(whole.last(), Some(&expected));
        }

        #[test]
        fn nonsense_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            seen([&bytes[..]]);
        }
    }
}
