//! Decisions and values drawn from a fuzzer's bytes. What the bytes are too short for follows from all
//! of them, so that a short input makes a rich case, and one input always the same.

/// Bytes that are used up from the front.
pub struct Choices<'b> {
    bytes: &'b [u8],
    state: u64,
}

impl<'b> Choices<'b> {
    /// From an input.
    pub fn new(bytes: &'b [u8]) -> Self {
        // FNV-1a, so that an appended byte changes what follows from the others too.
        let fold = |state: u64, &byte: &u8| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self { bytes, state: bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold) | 1 }
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => (self.follow() >> 32) as u8,
        }
    }

    /// Whether; evenly.
    pub fn coin(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % bound,
            _ => {
                (usize::from(self.byte()) << 16
                    | usize::from(self.byte()) << 8
                    | usize::from(self.byte()))
                    % bound
            }
        }
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A number below the bound that takes nothing of the input: for what is too much to be steered.
    pub fn any(&mut self, bound: usize) -> usize {
        (self.follow() >> 33) as usize % bound.max(1)
    }

    /// What is left of the input.
    pub fn rest(&mut self) -> &'b [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// The next number (xorshift64).
    fn follow(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
