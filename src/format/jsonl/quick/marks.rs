//! The bytes of a block by what they are, and what one block hands on to the next.

use crate::format::lanes::{Lanes, parity};

/// What one block hands on to the next.
#[derive(Clone, Copy)]
pub(super) struct Carry {
    /// Whether the first byte is escaped.
    pub(super) escaped: u64,
    /// All bits, if the block begins within a string.
    pub(super) inside: u64,
    /// Whether that string is a key.
    pub(super) key_run: u64,
    /// Whether the byte before belongs to a number or literal.
    pub(super) scalar: u64,
    /// What is due at the first byte that is not blank.
    pub(super) value: u64,
    pub(super) key: u64,
    pub(super) colon: u64,
    /// For each open level, from the lowest bit on, whether it is an array.
    pub(super) kinds: u64,
    pub(super) depth: u32,
    /// Where the document of this line was closed.
    pub(super) closed: Option<usize>,
    /// Whether the line failed already.
    pub(super) failed: bool,
}

impl Carry {
    /// At the start of a line.
    pub(super) const START: Self = Self {
        escaped: 0,
        inside: 0,
        key_run: 0,
        scalar: 0,
        value: 1,
        key: 0,
        colon: 0,
        kinds: 0,
        depth: 0,
        closed: None,
        failed: false,
    };
}

/// The bytes of a block by what they are. All but the first are outside strings.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    /// Line feeds, wherever they stand.
    pub(super) newline: u64,
    /// Quotes that open a string, and those that close one.
    pub(super) opening: u64,
    pub(super) closing: u64,
    /// Strings, from the opening quote to before the closing one.
    pub(super) inside: u64,
    pub(super) backslash: u64,
    pub(super) colon: u64,
    pub(super) comma: u64,
    pub(super) opens: u64,
    pub(super) closes: u64,
    /// White space, and control characters, which are none.
    pub(super) blank: u64,
    /// Numbers, literals, and whatever else.
    pub(super) scalar: u64,
    /// Where one of them begins.
    pub(super) starts: u64,
}

impl Marks {
    /// `None` where all of the block lies within one string and one line.
    #[inline(always)]
    pub(super) fn new<L: Lanes>(lanes: L, block: L::Block, carry: &mut Carry) -> Option<Self> {
        let backslash = lanes.equal(block, b'\\');
        let quotes = lanes.equal(block, b'"') & !escaped(backslash, &mut carry.escaped);
        let newline = lanes.equal(block, b'\n');
        if quotes | newline | !carry.inside == 0 {
            carry.failed |= backslash != 0 && carry.key_run != 0;
            carry.scalar = 0;
            return None;
        }
        let inside = parity(quotes) ^ carry.inside;
        carry.inside = if inside >> 63 == 1 { !0 } else { 0 };
        let outside = !(inside | quotes);
        let low = lanes.at_most(block, b' ') & outside;
        let colon = lanes.equal(block, b':') & outside;
        let comma = lanes.equal(block, b',') & outside;
        // `[` and `{` differ by one bit, and so do `]` and `}`.
        let opens = lanes.equal_with(block, 0x20, b'{') & outside;
        let closes = lanes.equal_with(block, 0x20, b'}') & outside;
        let scalar = outside & !(low | colon | comma | opens | closes);
        let starts = scalar & !(scalar << 1 | carry.scalar);
        carry.scalar = scalar >> 63;
        Some(Self {
            newline,
            opening: quotes & inside,
            closing: quotes & !inside,
            inside,
            backslash,
            colon,
            comma,
            opens,
            closes,
            blank: low & !newline,
            scalar,
            starts,
        })
    }
}

/// The bytes that stand after an odd number of backslashes (simdjson, `json_escape_scanner`).
#[inline(always)]
fn escaped(backslash: u64, carry: &mut u64) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    if backslash == 0 {
        return std::mem::take(carry);
    }
    let escapes = backslash & !*carry;
    let codes = ((escapes << 1) | ODD).wrapping_sub(escapes) ^ ODD;
    let escaped = codes ^ (backslash | *carry);
    *carry = (codes & backslash) >> 63;
    escaped
}

/// The first places after `tokens` that are not blank.
#[inline(always)]
pub(super) fn due(tokens: u64, blank: u64, carry: &mut u64) -> u64 {
    let places = tokens << 1 | *carry;
    if blank == 0 {
        *carry = tokens >> 63;
        return places;
    }
    let (sum, beyond) = (places & blank).overflowing_add(blank);
    *carry = tokens >> 63 | u64::from(beyond);
    (sum | places) & !blank
}
