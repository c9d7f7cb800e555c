//! Walks through one JSON document (RFC 8259) and tells a visitor what stands where paths lead.
//!
//! Iterative, with a bounded stack of its own: depth is foreign data. Nothing is decoded but keys
//! and values that a path leads to.

use std::ops::Range;

use super::tree::{NOWHERE, NodeId, ROOT, Tree};
use crate::format::text::Broken;

/// Deeper nesting makes a line unreadable. JSON parsers stop at 128 to 1,024.
pub(super) const DEEPEST: usize = 512;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A value that is neither array nor object.
#[derive(Clone, Copy)]
pub(super) enum Scalar<'a> {
    /// A string: what stands between its quotes, and whether a backslash is in it.
    Text {
        /// As written.
        raw: &'a [u8],
        /// Whether it has to be decoded.
        escaped: bool,
    },
    /// A number as it is written.
    Number(&'a str),
    /// `true`, `false`, `NaN`, `Infinity`, `-Infinity`.
    Literal,
    /// `null`.
    Null,
}

/// Is told what stands where a path leads, in the order of the document. Spans are byte ranges of
/// it.
pub(super) trait Visitor {
    /// A member's key, quotes included; its value follows.
    fn key(&mut self, _node: NodeId, _span: Range<usize>) {}

    /// A scalar.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn scalar(
        &mut self,
        node: NodeId,
        scalar: Scalar<'_>,
        span: Range<usize>,
    ) -> Result<(), &'static str>;

    /// An array or object begins.
    fn open(&mut self, _node: NodeId, _at: usize, _object: bool) {}

    /// An array or object has ended.
    fn close(&mut self, _node: NodeId, _span: Range<usize>, _object: bool) {}
}

/// An array or object that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: NodeId,
    start: usize,
    object: bool,
}

/// Walks through documents. It is kept from line to line for its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Walker {
    stack: Vec<Open>,
    scratch: Vec<u8>,
}

impl Walker {
    /// Walks through a line. White space alone is no document, and no error.
    ///
    /// # Errors
    ///
    /// [`Broken`] where the line is not one document, or an array.
    pub(super) fn walk(
        &mut self,
        text: &[u8],
        tree: &Tree,
        visitor: &mut impl Visitor,
    ) -> Result<(), Broken> {
        self.stack.clear();
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut walk = Walk { text, at, tree, visitor, walker: self };
        let outcome = walk.document();
        outcome.map_err(|reason| Broken { reason, at: walk.at.min(text.len()) })
    }
}

struct Walk<'a, V> {
    text: &'a [u8],
    at: usize,
    tree: &'a Tree,
    visitor: &'a mut V,
    walker: &'a mut Walker,
}

/// What is wrong.
type Problem = &'static str;

const ENDS_EARLY: Problem = "the line ends within a JSON document";

impl<V: Visitor> Walk<'_, V> {
    fn document(&mut self) -> Result<(), Problem> {
        match self.peek() {
            None => return Ok(()),
            Some(b'[') => return Err("the line is an array, not an object"),
            Some(_) => {}
        }
        let mut next = Some(ROOT);
        while let Some(node) = next {
            next = match self.value(node)? {
                Some(inner) => Some(inner),
                None => self.after_value()?,
            };
        }
        match self.peek() {
            None => Ok(()),
            Some(_) => Err("something follows the JSON document"),
        }
    }

    /// Skips white space and looks at what follows.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Reads a value as far as the first one within it, whose place it answers; `None` where the
    /// value has ended.
    fn value(&mut self, node: NodeId) -> Result<Option<NodeId>, Problem> {
        match self.peek() {
            Some(b'"') => self.string(node)?,
            Some(b'{') => return self.open(node, true),
            Some(b'[') => return self.open(node, false),
            Some(b'-' | b'0'..=b'9') => self.number(node)?,
            Some(b't') => self.literal(node, b"true", Scalar::Literal)?,
            Some(b'f') => self.literal(node, b"false", Scalar::Literal)?,
            Some(b'n') => self.literal(node, b"null", Scalar::Null)?,
            Some(b'N') => self.literal(node, b"NaN", Scalar::Literal)?,
            Some(b'I') => self.literal(node, b"Infinity", Scalar::Literal)?,
            Some(_) => return Err("a JSON value is expected"),
            None => return Err(ENDS_EARLY),
        }
        Ok(None)
    }

    fn open(&mut self, node: NodeId, object: bool) -> Result<Option<NodeId>, Problem> {
        if self.walker.stack.len() == DEEPEST {
            return Err("the JSON document is nested more than 512 deep");
        }
        if node != NOWHERE {
            self.visitor.open(node, self.at, object);
        }
        self.walker.stack.push(Open { node, start: self.at, object });
        self.at += 1;
        match self.peek() {
            Some(b'}') if object => self.close(),
            Some(b']') if !object => self.close(),
            _ if object => return self.key(node).map(Some),
            _ => return Ok(Some(self.tree.element(node))),
        }
        Ok(None)
    }

    fn close(&mut self) {
        self.at += 1;
        if let Some(open) = self.walker.stack.pop()
            && open.node != NOWHERE
        {
            self.visitor.close(open.node, open.start..self.at, open.object);
        }
    }

    /// Goes on after a value: answers the place of the next one, or `None` where the document has
    /// ended.
    fn after_value(&mut self) -> Result<Option<NodeId>, Problem> {
        while let Some(&open) = self.walker.stack.last() {
            match (self.peek(), open.object) {
                (Some(b','), true) => {
                    self.at += 1;
                    return self.key(open.node).map(Some);
                }
                (Some(b','), false) => {
                    self.at += 1;
                    return Ok(Some(self.tree.element(open.node)));
                }
                (Some(b'}'), true) | (Some(b']'), false) => self.close(),
                (Some(_), _) => return Err("a comma or a closing bracket is expected"),
                (None, _) => return Err(ENDS_EARLY),
            }
        }
        Ok(None)
    }

    /// Reads a key and its colon; answers the place of its value.
    fn key(&mut self, node: NodeId) -> Result<NodeId, Problem> {
        match self.peek() {
            Some(b'"') => {}
            Some(_) => return Err("a key in quotes is expected"),
            None => return Err(ENDS_EARLY),
        }
        let start = self.at;
        let escaped = self.skip_string()?;
        let end = self.at;
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return Err("a colon is expected"),
            None => return Err(ENDS_EARLY),
        }
        if !self.tree.has_members(node) {
            return Ok(NOWHERE);
        }
        let raw = &self.text[start + 1..end - 1];
        let child = if escaped {
            self.walker.scratch.clear();
            decode(raw, &mut self.walker.scratch)?;
            self.tree.member(node, &self.walker.scratch)
        } else {
            self.tree.member(node, raw)
        };
        if child != NOWHERE {
            self.visitor.key(child, start..end);
        }
        Ok(child)
    }

    fn string(&mut self, node: NodeId) -> Result<(), Problem> {
        let start = self.at;
        let escaped = self.skip_string()?;
        let raw = &self.text[start + 1..self.at - 1];
        self.tell(node, Scalar::Text { raw, escaped }, start)
    }

    /// Goes to the end of a string; answers whether a backslash is in it.
    fn skip_string(&mut self) -> Result<bool, Problem> {
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            let rest = self.text.get(at..).ok_or(ENDS_EARLY)?;
            at += memchr::memchr2(b'"', b'\\', rest).ok_or(ENDS_EARLY)?;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return Ok(escaped);
            }
            escaped = true;
            at += 2;
        }
    }

    fn number(&mut self, node: NodeId) -> Result<(), Problem> {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.starts_with(b"-Infinity") {
            return self.literal(node, b"-Infinity", Scalar::Literal);
        }
        let length = number_length(rest).ok_or("a number is not as JSON has them")?;
        self.at += length;
        let lexeme = std::str::from_utf8(&rest[..length]).map_err(|_| "a number is not ASCII")?;
        self.tell(node, Scalar::Number(lexeme), start)
    }

    fn literal(&mut self, node: NodeId, word: &[u8], scalar: Scalar<'_>) -> Result<(), Problem> {
        let start = self.at;
        if !self.text[start..].starts_with(word) {
            return Err("a JSON value is expected");
        }
        self.at += word.len();
        self.tell(node, scalar, start)
    }

    fn tell(&mut self, node: NodeId, scalar: Scalar<'_>, start: usize) -> Result<(), Problem> {
        if node == NOWHERE { Ok(()) } else { self.visitor.scalar(node, scalar, start..self.at) }
    }
}

/// The length of the number that the text begins with (RFC 8259, 6); `None` where it is none.
pub(super) fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && text[at] == b'0') {
        return None;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + signed);
        if exponent == 0 {
            return None;
        }
        at += 1 + signed + exponent;
    }
    Some(at)
}

const BAD_ESCAPE: Problem = "an escape in a string is not as JSON has them";

/// Appends what a string stands for. A lone surrogate becomes the three bytes that UTF-8 would have
/// for it (WTF-8), so that different strings stay different.
///
/// # Errors
///
/// What is wrong with an escape.
pub(super) fn decode(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest.get(at + 1).ok_or(BAD_ESCAPE)?;
        rest = &rest[at + 2..];
        let byte = match escape {
            b'"' | b'\\' | b'/' => *escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                rest = decode_unicode(rest, out)?;
                continue;
            }
            _ => return Err(BAD_ESCAPE),
        };
        out.push(byte);
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Decodes what follows `\u`; answers the rest.
fn decode_unicode<'t>(text: &'t [u8], out: &mut Vec<u8>) -> Result<&'t [u8], Problem> {
    let (mut code, mut rest) = hexadecimal(text).ok_or(BAD_ESCAPE)?;
    if (0xd800..0xdc00).contains(&code)
        && let Some((low, after)) = rest.strip_prefix(b"\\u").and_then(hexadecimal)
        && (0xdc00..0xe000).contains(&low)
    {
        code = 0x1_0000 + ((code - 0xd800) << 10 | (low - 0xdc00));
        rest = after;
    }
    match char::from_u32(code) {
        Some(character) => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        None => out.extend_from_slice(&[
            0xe0 | (code >> 12) as u8,
            0x80 | (code >> 6 & 0x3f) as u8,
            0x80 | (code & 0x3f) as u8,
        ]),
    }
    Ok(rest)
}

fn hexadecimal(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let add = |value, &digit: &u8| Some(value << 4 | char::from(digit).to_digit(16)?);
    Some((digits.iter().try_fold(0, add)?, rest))
}
