//! How many bytes of messages a stream of DATA frames carries, gRPC's own framing left out.

/// Five bytes before each message: whether it is compressed, and its length, big-endian.
const PREFIX: usize = 5;

/// Counts message bytes in chunks that may begin and end anywhere.
#[derive(Debug, Default, Clone)]
pub(crate) struct MessageBytes {
    total: u64,
    /// What is left of the message that is being read.
    left: usize,
    prefix: [u8; PREFIX],
    /// How much of the prefix was read.
    read: usize,
}

impl MessageBytes {
    /// Reads on.
    pub(crate) fn feed(&mut self, mut chunk: &[u8]) {
        while let Some((first, rest)) = chunk.split_first() {
            if self.left > 0 {
                let taken = self.left.min(chunk.len());
                self.left -= taken;
                self.total += u64::try_from(taken).unwrap_or(u64::MAX);
                chunk = chunk.get(taken..).unwrap_or_default();
                continue;
            }
            if let Some(byte) = self.prefix.get_mut(self.read) {
                *byte = *first;
            }
            chunk = rest;
            self.read += 1;
            if self.read == PREFIX {
                let [_, a, b, c, d] = self.prefix;
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.read = 0;
            }
        }
    }

    /// Whether no message was begun that has not ended.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0 && self.read == 0
    }

    /// The bytes of messages so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

/// The bytes of the messages in a whole body.
pub(crate) fn message_bytes(body: &[u8]) -> u64 {
    let mut bytes = MessageBytes::default();
    bytes.feed(body);
    bytes.total()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_counted_however_they_are_cut(sizes in prop::collection::vec(0_usize..300, 0..8), cut in 1_usize..64) {
            let mut wire = Vec::new();
            for size in &sizes {
                wire.push(0);
                wire.extend(u32::try_from(*size).unwrap().to_be_bytes());
                wire.resize(wire.len() + size, 0xff);
            }
            let mut bytes = MessageBytes::default();
            for chunk in wire.chunks(cut) {
                bytes.feed(chunk);
            }
            prop_assert_eq!(bytes.total(), sizes.iter().sum::<usize>() as u64);
            prop_assert!(bytes.is_whole());
            bytes.feed(&[0, 0, 0, 0]);
            prop_assert!(!bytes.is_whole(), "in a prefix");
            bytes.feed(&[2, 7]);
            prop_assert!(!bytes.is_whole(), "in a message");
            bytes.feed(&[7]);
            prop_assert!(bytes.is_whole());
        }

        #[test]
        fn no_bytes_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..32), 0..8)) {
            let mut bytes = MessageBytes::default();
            for chunk in chunks {
                bytes.feed(&chunk);
            }
        }
    }
}
