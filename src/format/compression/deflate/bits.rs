//! Writes single bits, lowest first, as deflate has them.

/// The header of a block with the fixed codes that is not the last one, in three bits.
pub(in crate::format::compression) const FIXED_HEADER: (u32, u32) = (0b010, 3);

/// How long the code is that ends a block with the fixed codes; all of it is zeros.
pub(in crate::format::compression) const FIXED_END_BITS: u32 = 7;

/// Bits that begin within a byte, at its *phase*: its lower bits belong to something else, and are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::format::compression) struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are taken; 0: all of them.
    phase: u32,
}

impl Bits {
    /// Nothing, from this bit of a byte on.
    pub(in crate::format::compression) fn at(phase: u32) -> Self {
        let phase = phase % 8;
        Self { bytes: vec![0; usize::from(phase > 0)], phase }
    }

    /// At which bit of a byte the next bit comes to stand.
    pub(in crate::format::compression) fn phase(&self) -> u32 {
        self.phase
    }

    /// The bytes; of a last one that is not full, the upper bits are 0.
    pub(in crate::format::compression) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the bytes that are full.
    pub(in crate::format::compression) fn take_full(&mut self) -> Vec<u8> {
        let full = self.bytes.len() - usize::from(self.phase > 0);
        let rest = self.bytes.split_off(full);
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Puts whole bytes in the place of all; of the first one the bits before the phase are 0.
    pub(in crate::format::compression) fn replace(&mut self, bytes: Vec<u8>) {
        (self.bytes, self.phase) = (bytes, 0);
    }

    /// Adds the lowest `count` bits of a value.
    pub(in crate::format::compression) fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.phase == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << self.phase;
            }
            self.phase = (self.phase + 1) % 8;
        }
    }

    /// Adds whole bytes where a byte begins; bits before that are filled up with zeros.
    pub(in crate::format::compression) fn put_bytes(&mut self, bytes: &[u8]) {
        self.phase = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds bits that begin at the phase reached.
    pub(in crate::format::compression) fn append(&mut self, more: &Self) {
        let mut bytes = &more.bytes[..];
        if let (1.., Some(last), Some((first, rest))) =
            (self.phase, self.bytes.last_mut(), bytes.split_first())
        {
            *last |= first;
            bytes = rest;
        }
        self.bytes.extend_from_slice(bytes);
        self.phase = more.phase;
    }

    /// Adds an empty block that ends where a byte ends.
    pub(in crate::format::compression) fn put_stored_nothing(&mut self) {
        self.put(0, 3);
        self.put_bytes(&[0, 0, 0xff, 0xff]);
    }

    /// Adds empty blocks until the next bit comes to stand at this phase.
    ///
    /// A block with the fixed codes has 10 bits, one with codes of its own 95: together they reach every
    /// phase, which neither does alone.
    pub(in crate::format::compression) fn put_until(&mut self, phase: u32) {
        if (phase + 8 - self.phase) % 2 == 1 {
            self.put_empty_with_codes();
        }
        while self.phase != phase % 8 {
            self.put(FIXED_HEADER.0, FIXED_HEADER.1);
            self.put(0, FIXED_END_BITS);
        }
    }

    /// An empty block that brings codes of its own. Both of them are complete, since there are decoders
    /// that refuse a code of a single symbol.
    fn put_empty_with_codes(&mut self) {
        // Not the last; with codes of its own; 257 literals and lengths, 2 distances, 19 code lengths.
        for (value, count) in [(0b100, 3), (0, 5), (1, 5), (15, 4)] {
            self.put(value, count);
        }
        // In the order that RFC 1951 has: of the code lengths just 18 (many zeros) and 1 are in use.
        for place in 0..19 {
            self.put(u32::from(place == 2 || place == 17), 3);
        }
        // 1; 138 and 117 zeros; 1 for the block's end; 1 and 1 for two distances.
        for (value, count) in [(0, 1), (1, 1), (127, 7), (1, 1), (106, 7), (0, 3)] {
            self.put(value, count);
        }
        // The block's end.
        self.put(1, 1);
    }
}
