//! 64 bytes at once: which of them are this or that, as a bit each. By the widest instructions that
//! the processor has, found out at run time; plain integer arithmetic elsewhere.

/// How many bytes a block has.
pub(super) const BLOCK_BYTES: usize = 64;

/// Compares the bytes of a block. Bit `n` of an answer is about byte `n`.
pub(super) trait Lanes: Copy {
    /// 64 bytes.
    type Block: Copy;

    /// Loads a block.
    fn load(self, bytes: &[u8; BLOCK_BYTES]) -> Self::Block;

    /// Which bytes are `byte`.
    fn equal(self, block: Self::Block, byte: u8) -> u64;

    /// Which bytes are `byte` once the bits of `with` are set in them.
    fn equal_with(self, block: Self::Block, with: u8, byte: u8) -> u64;

    /// Which bytes are at most `limit`, which is ASCII.
    fn at_most(self, block: Self::Block, limit: u8) -> u64;

    /// Which bytes are digits.
    #[inline(always)]
    fn digits(self, block: Self::Block) -> u64 {
        self.at_most(block, b'9') & !self.at_most(block, b'0' - 1)
    }
}

/// Work over blocks. `run` and what it calls for every block has to be `#[inline(always)]`.
pub(super) trait Work {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Does the work by the widest instructions there are. In tests, by each kind in turn.
pub(super) fn with_widest<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(level) = pulp::x86::V4::try_new().filter(|_| is_turn(3)) {
            return level.vectorize(x86::At { level, work });
        }
        if let Some(level) = pulp::x86::V3::try_new().filter(|_| is_turn(2)) {
            return level.vectorize(x86::At { level, work });
        }
    }
    work.run(Portable)
}

#[cfg(not(test))]
#[inline(always)]
fn is_turn(_: usize) -> bool {
    true
}

/// Whether one in `turns` calls; those asked in vain go on to the next kind.
#[cfg(test)]
fn is_turn(turns: usize) -> bool {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static CALLS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
    CALLS[turns].fetch_add(1, Ordering::Relaxed).is_multiple_of(turns)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256i, __m512i};

    use pulp::NullaryFnOnce;
    use pulp::bytemuck::cast;
    use pulp::x86::{V3, V4};

    use super::{BLOCK_BYTES, Lanes, Work};

    /// Work at a level of instructions.
    pub(super) struct At<L, W> {
        pub(super) level: L,
        pub(super) work: W,
    }

    impl<L: Lanes, W: Work> NullaryFnOnce for At<L, W> {
        type Output = W::Output;

        #[inline(always)]
        fn call(self) -> W::Output {
            self.work.run(self.level)
        }
    }

    impl Lanes for V3 {
        type Block = [__m256i; 2];

        #[inline(always)]
        fn load(self, bytes: &[u8; BLOCK_BYTES]) -> Self::Block {
            cast(*bytes)
        }

        #[inline(always)]
        fn equal(self, block: Self::Block, byte: u8) -> u64 {
            let wanted = self.avx._mm256_set1_epi8(byte.cast_signed());
            bits(self, block.map(|half| self.avx2._mm256_cmpeq_epi8(half, wanted)))
        }

        #[inline(always)]
        fn equal_with(self, block: Self::Block, with: u8, byte: u8) -> u64 {
            let with = self.avx._mm256_set1_epi8(with.cast_signed());
            self.equal(block.map(|half| self.avx2._mm256_or_si256(half, with)), byte)
        }

        #[inline(always)]
        fn at_most(self, block: Self::Block, limit: u8) -> u64 {
            let limit = self.avx._mm256_set1_epi8(limit.cast_signed());
            let is_below =
                |half| self.avx2._mm256_cmpeq_epi8(self.avx2._mm256_max_epu8(half, limit), limit);
            bits(self, block.map(is_below))
        }
    }

    #[inline(always)]
    fn bits(level: V3, [low, high]: [__m256i; 2]) -> u64 {
        let half = |half| u64::from(level.avx2._mm256_movemask_epi8(half).cast_unsigned());
        half(low) | half(high) << 32
    }

    impl Lanes for V4 {
        type Block = __m512i;

        #[inline(always)]
        fn load(self, bytes: &[u8; BLOCK_BYTES]) -> Self::Block {
            cast(*bytes)
        }

        #[inline(always)]
        fn equal(self, block: Self::Block, byte: u8) -> u64 {
            let wanted = self.avx512f._mm512_set1_epi8(byte.cast_signed());
            self.avx512bw._mm512_cmpeq_epi8_mask(block, wanted)
        }

        #[inline(always)]
        fn equal_with(self, block: Self::Block, with: u8, byte: u8) -> u64 {
            let with = self.avx512f._mm512_set1_epi8(with.cast_signed());
            self.equal(self.avx512f._mm512_or_si512(block, with), byte)
        }

        #[inline(always)]
        fn at_most(self, block: Self::Block, limit: u8) -> u64 {
            let limit = self.avx512f._mm512_set1_epi8(limit.cast_signed());
            self.avx512bw._mm512_cmple_epu8_mask(block, limit)
        }
    }
}

/// Eight bytes at once, by arithmetic (Warren, *Hacker's Delight*, 6-1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW_BITS: u64 = 0x7f * ONES;

impl Lanes for Portable {
    type Block = [u64; BLOCK_BYTES / 8];

    #[inline(always)]
    fn load(self, bytes: &[u8; BLOCK_BYTES]) -> Self::Block {
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|number| u64::from_le_bytes(words[number]))
    }

    #[inline(always)]
    fn equal(self, block: Self::Block, byte: u8) -> u64 {
        gather(block.map(|word| {
            let other = word ^ (u64::from(byte) * ONES);
            !(((other & LOW_BITS) + LOW_BITS) | other | LOW_BITS)
        }))
    }

    #[inline(always)]
    fn equal_with(self, block: Self::Block, with: u8, byte: u8) -> u64 {
        self.equal(block.map(|word| word | (u64::from(with) * ONES)), byte)
    }

    #[inline(always)]
    fn at_most(self, block: Self::Block, limit: u8) -> u64 {
        // The limit is ASCII: a byte is above it if its high bit is set, or gets set by the addition.
        let above = u64::from(0x7f - (limit & 0x7f)) * ONES;
        gather(block.map(|word| !(((word & LOW_BITS) + above) | word) & !LOW_BITS))
    }
}

/// The high bits of all bytes, in order.
#[inline(always)]
fn gather(words: [u64; BLOCK_BYTES / 8]) -> u64 {
    const TO_THE_TOP: u64 = 0x0102_0408_1020_4080;
    let byte = |word: u64| (word >> 7).wrapping_mul(TO_THE_TOP) >> 56;
    words.iter().rev().fold(0, |bits, &word| bits << 8 | byte(word))
}

/// For each bit, whether an odd number of bits up to it, itself included, are set.
#[inline(always)]
pub(super) fn parity(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].iter().fold(bits, |bits, by| bits ^ bits << by)
}

/// The bits below bit `at`.
#[inline(always)]
pub(super) fn below(at: u32) -> u64 {
    (1 << at) - 1
}

/// Loads the block that begins at `at`, padded with spaces beyond the end.
#[inline(always)]
pub(super) fn load_at<L: Lanes>(lanes: L, window: &[u8], at: usize) -> L::Block {
    let rest = &window[at..];
    match rest.first_chunk() {
        Some(block) => lanes.load(block),
        None => {
            let mut block = [b' '; BLOCK_BYTES];
            block[..rest.len()].copy_from_slice(rest);
            lanes.load(&block)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Compare<'b>(&'b [u8; BLOCK_BYTES], u8, u8);

    impl Work for Compare<'_> {
        type Output = [u64; 4];

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> [u64; 4] {
            let block = lanes.load(self.0);
            [
                lanes.equal(block, self.1),
                lanes.equal_with(block, self.2, self.1),
                lanes.at_most(block, self.1 & 0x7f),
                lanes.digits(block),
            ]
        }
    }

    proptest! {
        #[test]
        fn all_lanes_compare_alike(
            bytes in prop::collection::vec(any::<u8>(), BLOCK_BYTES),
            byte: u8,
            with: u8,
        ) {
            let block: [u8; BLOCK_BYTES] = bytes.try_into().expect("64 bytes");
            let bits = |is: &dyn Fn(u8) -> bool| {
                (0..BLOCK_BYTES).fold(0, |bits, at| bits | u64::from(is(block[at])) << at)
            };
            let naive = [
                bits(&|other| other == byte),
                bits(&|other| other | with == byte),
                bits(&|other| other <= byte & 0x7f),
                bits(&|other| other.is_ascii_digit()),
            ];
            for _ in 0..6 {
                prop_assert_eq!(with_widest(Compare(&block, byte, with)), naive);
            }
        }

        #[test]
        fn parity_counts_bits(bits: u64) {
            for at in 0..64 {
                let up_to = bits & (below(at) | 1 << at);
                prop_assert_eq!(parity(bits) >> at & 1, u64::from(up_to.count_ones() % 2));
            }
        }
    }
}
