//! A subject by the first 64 bits of its digest, the part that a posting keeps.

use crate::domain::identifier::IdentifierDigest;

/// The part of a digest that a posting keeps: its first 64 bits, big-endian, so that subjects sort as
/// digests do.
pub fn subject_of(digest: &IdentifierDigest) -> u64 {
    u64::from_be_bytes(digest.as_bytes().first_chunk().copied().unwrap_or_default())
}

/// A digest as far as a posting knows it; the rest is zero.
pub fn digest_of(subject: u64) -> IdentifierDigest {
    IdentifierDigest::from_bytes((u128::from(subject) << 64).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_first_half_of_a_digest() {
        let digests = [[0; 16], [1; 16], [0x7f; 16], [0x80; 16], [0xff; 16]];
        let subjects = digests.map(|bytes| subject_of(&IdentifierDigest::from_bytes(bytes)));
        assert!(subjects.is_sorted());
        let known = digest_of(subjects[3]);
        assert_eq!(
            (known.as_bytes()[..8].to_vec(), known.as_bytes()[8..].to_vec()),
            (vec![0x80; 8], vec![0; 8])
        );
        assert_eq!(subject_of(&known), subjects[3]);
    }
}
