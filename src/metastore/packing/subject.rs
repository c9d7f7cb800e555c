//! A subject by 80 bits of its digest: 64 as a block's subject, and a check of the rest, 16 bits,
//! which stands in the low bits of the block's object. Among a billion subjects two are taken for one
//! with a probability of one in two million, and whoever acts on a posting looks at the row again. The
//! check is a CRC-16 (CCITT: x^16 + x^12 + x^5 + 1), so that digests whose second halves differ in no
//! more than two bits are always told apart.

use crate::domain::identifier::IdentifierDigest;

/// A subject, as blocks know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The first 64 bits of its digest.
    pub number: u64,
    /// The check of the other 64.
    pub check: u16,
}

impl Subject {
    /// The subject of a digest.
    pub fn new(digest: &IdentifierDigest) -> Self {
        let bytes = digest.as_bytes();
        let (number, rest) = bytes.split_at(8);
        let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let check = rest.iter().fold(0_u16, |check, byte| {
            check << 8 ^ REMAINDERS[usize::from(check.to_be_bytes()[0] ^ byte)]
        });
        Self { number, check }
    }

    /// The digest, as far as the number says it; the rest is zero.
    pub fn known_digest(number: u64) -> IdentifierDigest {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        IdentifierDigest::from_bytes(bytes)
    }
}

/// An object's number and a subject's check, as a block keeps them.
pub fn tagged(object: u64, check: u16) -> u64 {
    object << 16 | u64::from(check)
}

/// The object's number and the subject's check that a block keeps.
pub fn untagged(tagged: u64) -> (u64, u16) {
    (tagged >> 16, (tagged & 0xffff) as u16)
}

/// The CRC-16 of each byte.
const REMAINDERS: [u16; 256] = remainders();

const fn remainders() -> [u16; 256] {
    let mut remainders = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            let carries = remainder & 0x8000 != 0;
            remainder = remainder << 1 ^ if carries { 0x1021 } else { 0 };
            bit += 1;
        }
        remainders[byte] = remainder;
        byte += 1;
    }
    remainders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_the_one_of_the_books() {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(b"12345678");
        // CRC-16/XMODEM of the eight digits, and the number of what stands before them.
        let subject = Subject::new(&IdentifierDigest::from_bytes(bytes));
        assert_eq!(subject, Subject { number: 0, check: 0x9015 });
        assert_eq!(untagged(tagged(7, 0x9015)), (7, 0x9015));
        assert_eq!(Subject::new(&Subject::known_digest(7)).number, 7);
    }
}
