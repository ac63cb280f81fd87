//! How large messages may be, read off the length-prefixed framing without decoding anything.

/// A message's prefix: a compression flag and a length of four bytes.
const PREFIX: usize = 5;

/// Follows a body of length-prefixed messages and notices the first that is too large, before its
/// bytes are read.
#[derive(Debug)]
pub(super) struct Scanner {
    max: u32,
    prefix: [u8; PREFIX],
    /// How much of the prefix has come.
    have: usize,
    /// How many bytes of the current message are still to come.
    left: u32,
}

/// A message is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub(super) size: u32,
    pub(super) max: u32,
}

impl Scanner {
    pub(super) fn new(max: u32) -> Self {
        Self {
            max,
            prefix: [0; PREFIX],
            have: 0,
            left: 0,
        }
    }

    /// Takes the next bytes of the body.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = u32::try_from(bytes.len())
                    .unwrap_or(u32::MAX)
                    .min(self.left);
                self.left -= here;
                let here = usize::try_from(here).unwrap_or(usize::MAX);
                bytes = bytes.get(here..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.prefix.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == PREFIX {
                self.have = 0;
                let [_, a, b, c, d] = self.prefix;
                self.left = u32::from_be_bytes([a, b, c, d]);
                if self.left > self.max {
                    return Err(TooLarge {
                        size: self.left,
                        max: self.max,
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(sizes: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for size in sizes {
            bytes.push(0);
            bytes.extend(size.to_be_bytes());
            bytes.resize(bytes.len() + usize::try_from(*size).unwrap(), 7);
        }
        bytes
    }

    #[test]
    fn the_first_that_is_too_large_is_named() {
        let bytes = framed(&[0, 10, 11]);
        let too_large = Scanner::new(10).scan(&bytes);
        assert_eq!(too_large, Err(TooLarge { size: 11, max: 10 }));
        assert_eq!(Scanner::new(11).scan(&bytes), Ok(()));
    }

    proptest! {
        #[test]
        fn however_the_bytes_come(
            sizes in prop::collection::vec(0_u32..40, 0..8),
            chunk in 1_usize..9,
            max in 0_u32..40,
        ) {
            let bytes = framed(&sizes);
            let mut scanner = Scanner::new(max);
            let found = bytes.chunks(chunk).find_map(|chunk| scanner.scan(chunk).err());
            let expected = sizes.iter().copied().find(|size| *size > max);
            prop_assert_eq!(found.map(|f| f.size), expected);
        }
    }
}
