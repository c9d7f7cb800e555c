//! JSON lines at the speed of memory: 64 bytes at once, as bits (after Langdale and Lemire, *Parsing
//! gigabytes of JSON per second*, 2019), without an index of tokens.
//!
//! The grammar is held as sets of places: where a value, a key or a colon is due. Where one is due it
//! has to stand, and nowhere else; so that a comma, a closing bracket or the end of the line can only
//! stand where nothing is due. What breaks that fails its line, and so does whatever is not plain: an
//! escape in a key, a deep nest, a first byte other than `{`. A line that failed is read by the plain
//! reader, which decides; so this only has to be right about lines that it passes.
//!
//! A block within one string, which long texts are full of, is passed over at once.

use super::tree::{NodeId, ROOT, Tree};
use super::walk::{DEEPEST, Visitor as _};
use super::{Identifiers, Lines, Reader};
use crate::format::lanes::{BLOCK_BYTES, Lanes, Work, below, load_at, with_widest};
use crate::format::text::{Findings, Found, Plain, Problem, ReadWindow, check_length};

mod marks;
mod scalar;

use marks::{Carry, Marks, due};
use scalar::{is_blank, is_decimal, is_scalar, scalar, skip_blank};

/// Deeper nests are left to the plain reader: a bit for each level.
const DEEP: u32 = if DEEPEST < 63 { DEEPEST as u32 } else { 63 };

/// More first letters than this are not compared one by one.
const FIRSTS: usize = 4;

/// Reads windows of lines.
#[derive(Clone)]
pub(in crate::format) struct Scanner {
    plain: Plain<Lines, Reader>,
    keys: Option<Keys>,
    found: Found,
    nodes: Vec<NodeId>,
}

/// Which keys are looked for.
#[derive(Clone, Debug)]
struct Keys {
    /// What they begin with; empty: anything.
    firsts: Vec<u8>,
    /// Their first eight bytes with the closing quote, and which of their bits count.
    starts: Vec<(u64, u64)>,
    /// Whether any stands below the top of the document.
    nested: bool,
}

impl Keys {
    /// `None` where the paths are left to the plain reader: those through arrays, and empty names.
    fn new(tree: &Tree) -> Option<Self> {
        if tree.has_elements() {
            return None;
        }
        let (mut firsts, mut starts) = (Vec::new(), Vec::new());
        for name in tree.names() {
            firsts.push(*name.first()?);
            let (mut start, mut counts) = ([0; 8], [0; 8]);
            for (at, &byte) in name.iter().chain(b"\"").take(8).enumerate() {
                (start[at], counts[at]) = (byte, 0xff);
            }
            starts.push((u64::from_le_bytes(start), u64::from_le_bytes(counts)));
        }
        firsts.sort_unstable();
        firsts.dedup();
        if firsts.len() > FIRSTS {
            firsts.clear();
        }
        Some(Self { firsts, starts, nested: tree.is_nested() })
    }

    /// Whether the key that the text begins with may be one of them.
    #[inline(always)]
    fn may_begin(&self, text: &[u8]) -> bool {
        text.first_chunk().is_none_or(|start| {
            let start = u64::from_le_bytes(*start);
            self.starts.iter().any(|&(wanted, counts)| start & counts == wanted)
        })
    }
}

impl Scanner {
    pub(super) fn new(reader: Reader) -> Self {
        let keys = Keys::new(&reader.tree);
        let plain = Plain::new(Lines::default(), reader, true);
        Self { plain, keys, found: Found::default(), nodes: Vec::new() }
    }
}

impl ReadWindow for Scanner {
    fn read(
        &mut self,
        window: &[u8],
        ended: bool,
        findings: &mut Findings,
    ) -> Result<usize, Problem> {
        let Some(keys) = &self.keys else { return self.plain.read(window, ended, findings) };
        let lines = memchr::memrchr(b'\n', window).map_or(0, |newline| newline + 1);
        self.found.clear();
        self.nodes.clear();
        let quick = Quick {
            window: &window[..lines],
            keys,
            reader: &mut self.plain.reader,
            found: &mut self.found,
            nodes: &mut self.nodes,
            findings,
            line: 0,
            awaited: None,
        };
        let taken = with_widest(quick)?;
        if !ended || taken == window.len() {
            return Ok(taken);
        }
        let end = self.plain.read_one(window, taken, ended, findings)?;
        Ok(end.unwrap_or(taken))
    }

    fn is_settled(&self) -> bool {
        true
    }
}

/// The nests of a block.
struct Nests {
    /// Places directly within an array.
    array: u64,
    /// Places directly within the document.
    top: u64,
    array_opens: u64,
    wrong: u64,
}

/// What is known of the block at a place.
struct Seen {
    marks: Marks,
    nests: Nests,
    at: usize,
}

/// What a block comes to.
struct Events {
    /// Keys that may be looked for.
    wanted: u64,
    /// Line ends.
    newline: u64,
    /// What stands within strings.
    inside: u64,
    /// Nests that begin, and all that begin or end, if they matter.
    opens: u64,
    levels: u64,
    /// What stands where it is not due.
    wrong: u64,
}

/// Reads a window.
struct Quick<'a> {
    window: &'a [u8],
    keys: &'a Keys,
    reader: &'a mut Reader,
    found: &'a mut Found,
    /// The places of the open levels, where keys stand below the top.
    nodes: &'a mut Vec<NodeId>,
    findings: &'a mut Findings,
    /// Where the line begins that is being read.
    line: usize,
    /// Where an array or object opens that a key leads to, and its place.
    awaited: Option<(usize, NodeId)>,
}

impl Work for Quick<'_> {
    type Output = Result<usize, Problem>;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> Self::Output {
        let mut at = 0;
        let mut carry = Carry::START;
        while at < self.window.len() {
            let block = load_at(lanes, self.window, at);
            match self.block(lanes, block, at, &mut carry)? {
                None => at += BLOCK_BYTES,
                // A line ended within a string: nothing is certain but that another one begins.
                Some(line) => {
                    at = line;
                    carry = Carry::START;
                }
            }
        }
        Ok(self.line)
    }
}

impl Quick<'_> {
    /// Reads a block; answers where to begin anew, if need be.
    #[inline(always)]
    fn block<L: Lanes>(
        &mut self,
        lanes: L,
        block: L::Block,
        at: usize,
        carry: &mut Carry,
    ) -> Result<Option<usize>, Problem> {
        let Some(marks) = Marks::new(lanes, block, carry) else { return Ok(None) };
        if marks.opens | marks.closes | marks.newline == 0 {
            // Most blocks: what is known of these makes the rest shorter.
            let marks = Marks { opens: 0, closes: 0, newline: 0, ..marks };
            let nests = Nests::same(carry);
            return self.tokens(lanes, block, Seen { marks, nests, at }, carry);
        }
        let nests = self.nests(&marks, at, carry);
        self.tokens(lanes, block, Seen { marks, nests, at }, carry)
    }

    /// Checks the tokens of a block and reads what is wanted.
    #[inline(always)]
    fn tokens<L: Lanes>(
        &mut self,
        lanes: L,
        block: L::Block,
        seen: Seen,
        carry: &mut Carry,
    ) -> Result<Option<usize>, Problem> {
        let Seen { marks, nests, at } = seen;
        let (keys, mut wrong) = self.grammar(&marks, &nests, at, carry);
        if marks.starts != 0 {
            let (digits, zeros) = (lanes.digits(block), lanes.equal(block, b'0'));
            // Digits alone, no zero before others, nothing that may go on: no number is wrong.
            let odd = marks.scalar & (!digits | 1 << 63) | marks.starts & zeros & marks.scalar >> 1;
            if odd != 0 {
                wrong |= self.scalars(&marks, digits, at);
            }
        }
        if marks.blank != 0 {
            for place in bits(marks.blank & !lanes.equal(block, b' ')) {
                let fits = self.window.get(at + place).is_some_and(is_blank);
                wrong |= if fits { 0 } else { 1 << place };
            }
        }
        let nested = self.keys.nested;
        let mut wanted = if nested { keys } else { keys & nests.top };
        if wanted != 0 && !self.keys.firsts.is_empty() {
            let firsts = self.keys.firsts.iter();
            let firsts = firsts.fold(0, |bits, &first| bits | lanes.equal(block, first));
            wanted &= firsts >> 1 | 1 << 63;
        }
        for place in bits(wanted) {
            let text = self.window.get(at + place + 1..).unwrap_or_default();
            wanted &= if self.keys.may_begin(text) { !0 } else { !(1 << place) };
        }
        let Marks { newline, inside, opens, closes, .. } = marks;
        let levels = if nested { opens | closes } else { 0 };
        if newline | wanted | levels == 0 {
            carry.failed |= wrong != 0;
            return Ok(None);
        }
        self.events(Events { wanted, newline, inside, opens, levels, wrong }, at, carry)
    }

    /// Follows the nests through a block.
    #[inline(always)]
    fn nests(&self, marks: &Marks, at: usize, carry: &mut Carry) -> Nests {
        let mut events = marks.opens | marks.closes | marks.newline;
        let mut nests = Nests { array: 0, top: 0, array_opens: 0, wrong: 0 };
        let mut done = 0;
        while events != 0 {
            let place = events.trailing_zeros();
            let (bit, up_to) = (1 << place, below(place));
            nests.add(up_to & !done, carry);
            done = up_to;
            events &= events - 1;
            let fits = self.nest(marks, at + place as usize, bit, carry);
            nests.wrong |= if fits { 0 } else { bit };
            if marks.opens & bit != 0 && carry.kinds & 1 == 1 {
                nests.array_opens |= bit;
            }
        }
        nests.add(!done, carry);
        nests
    }

    /// Opens or closes a level, or ends a line; answers whether it may.
    #[inline(always)]
    fn nest(&self, marks: &Marks, at: usize, bit: u64, carry: &mut Carry) -> bool {
        let is_array = u64::from(self.window[at] & 0x20 == 0);
        if marks.opens & bit != 0 {
            if carry.depth == DEEP {
                return false;
            }
            carry.kinds = carry.kinds << 1 | is_array;
            carry.depth += 1;
            return true;
        }
        if marks.closes & bit != 0 {
            let fits = carry.depth > 0 && carry.kinds & 1 == is_array;
            carry.kinds >>= 1;
            carry.depth = carry.depth.saturating_sub(1);
            if carry.depth == 0 {
                carry.closed = Some(at);
            }
            return fits;
        }
        let rest = carry.closed.take().and_then(|closed| self.window.get(closed + 1..at));
        let fits = carry.depth == 0 && rest.is_some_and(|rest| rest.iter().all(is_blank));
        (carry.kinds, carry.depth) = (0, 0);
        fits
    }

    /// Finds out what stands where it is not due, and what is due and does not stand there. Answers the
    /// keys' opening quotes, and what is wrong.
    #[inline(always)]
    fn grammar(&self, marks: &Marks, nests: &Nests, at: usize, carry: &mut Carry) -> (u64, u64) {
        let Marks { newline, opening, closing, colon, comma, opens, closes, blank, .. } = *marks;
        let value = colon | nests.array_opens | comma & nests.array | newline;
        let value = due(value, blank, &mut carry.value);
        let key = opens & !nests.array_opens | comma & !nests.array;
        let key = due(key, blank, &mut carry.key);
        let keys = opening & key;
        // An addition runs from a key's opening quote to its closing one.
        let (run, carried) = marks.inside.overflowing_add(keys);
        let (run, carried_too) = run.overflowing_add(carry.key_run);
        carry.key_run = u64::from(carried | carried_too);
        let colon_due = due(run & closing, blank, &mut carry.colon);

        let nests_and_scalars = opens | marks.starts;
        let mut wrong = nests.wrong | newline & marks.inside | colon ^ colon_due;
        wrong |= nests_and_scalars & key;
        let strange = (value | key) ^ (opening | nests_and_scalars);
        wrong |= strange & !closes;
        for place in bits(strange & closes) {
            wrong |= if self.is_empty_nest(at + place) { 0 } else { 1 << place };
        }
        if marks.backslash != 0 {
            wrong |= marks.backslash & marks.inside & !run;
        }
        (keys, wrong)
    }

    /// Which of these numbers and literals are none.
    #[inline(always)]
    fn scalars(&self, marks: &Marks, digits: u64, at: usize) -> u64 {
        let mut wrong = 0;
        for place in bits(marks.starts) {
            let length = (!(marks.scalar >> place)).trailing_zeros();
            let end = place as u32 + length;
            let others = !(digits >> place);
            let is_whole = end < BLOCK_BYTES as u32
                && is_decimal(&self.window[at + place..], length, others & below(length));
            if !is_whole && !is_scalar(&self.window[at + place..]) {
                wrong |= 1 << place;
            }
        }
        wrong
    }

    /// Whether the array or object that closes here has nothing in it.
    fn is_empty_nest(&self, at: usize) -> bool {
        let before = self.window[..at].iter().rev().find(|byte| !is_blank(byte));
        before.is_some_and(|&byte| byte == self.window[at] - 2)
    }

    /// Reads keys and ends lines, in order.
    fn events(
        &mut self,
        events: Events,
        at: usize,
        carry: &mut Carry,
    ) -> Result<Option<usize>, Problem> {
        let Events { wanted, newline, inside, opens, levels, wrong } = events;
        let mut done = 0;
        for place in bits(newline | wanted | levels) {
            let bit = 1u64 << place;
            if newline & bit != 0 {
                let up_to = bit | (bit - 1);
                let failed = carry.failed || wrong & up_to & !done != 0;
                self.end_line(at + place, failed)?;
                (done, carry.failed) = (up_to, false);
                if inside & bit != 0 {
                    return Ok(Some(self.line));
                }
            } else if wanted & bit != 0 {
                carry.failed |= self.key(at + place).is_none();
            } else if opens & bit != 0 {
                self.open(at + place);
            } else {
                self.nodes.pop();
            }
        }
        carry.failed |= wrong & !done != 0;
        Ok(None)
    }

    fn end_line(&mut self, newline: usize, failed: bool) -> Result<(), Problem> {
        let start = std::mem::replace(&mut self.line, newline + 1);
        self.nodes.clear();
        self.awaited = None;
        let text = &self.window[start..newline];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        check_length(text.len(), start)?;
        if failed || text.first() != Some(&b'{') {
            self.findings.read(self.reader, text, start, self.found);
        } else {
            self.findings.row(self.found);
        }
        self.found.clear();
        Ok(())
    }

    fn open(&mut self, at: usize) {
        let node = match (self.awaited.take(), self.nodes.is_empty()) {
            (_, true) => ROOT,
            (Some((place, node)), _) if place == at => node,
            _ => super::tree::NOWHERE,
        };
        self.nodes.push(node);
    }

    /// Reads the value of a key, if it is one that is looked for; `None` where it is better left to the
    /// plain reader.
    fn key(&mut self, at: usize) -> Option<()> {
        let Reader { tree, fields, scratch, .. } = &mut *self.reader;
        let node = if self.keys.nested { *self.nodes.last()? } else { ROOT };
        let text = self.window.get(at + 1..)?;
        let Some((length, node)) = tree.member_quoted(node, text) else { return Some(()) };
        let colon = skip_blank(self.window, at + length + 2);
        if self.window.get(colon) != Some(&b':') {
            return None;
        }
        let start = skip_blank(self.window, colon + 1);
        let text = self.window.get(start..)?;
        let mut found = Identifiers { tree, fields, scratch, found: self.found };
        if matches!(text.first()?, b'{' | b'[') {
            found.open(node, start, true);
            self.awaited = Some((start, node));
            return Some(());
        }
        let (scalar, length) = scalar(text)?;
        found.scalar(node, scalar, start..start + length).ok()
    }
}

impl Nests {
    /// Of a block in which none begins or ends.
    #[inline(always)]
    fn same(carry: &Carry) -> Self {
        let mut nests = Self { array: 0, top: 0, array_opens: 0, wrong: 0 };
        nests.add(!0, carry);
        nests
    }

    #[inline(always)]
    fn add(&mut self, places: u64, carry: &Carry) {
        self.array |= if carry.kinds & 1 == 1 { places } else { 0 };
        self.top |= if carry.depth == 1 { places } else { 0 };
    }
}

/// The places of the bits that are set, ascending.
#[inline(always)]
fn bits(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(place)
    })
}
