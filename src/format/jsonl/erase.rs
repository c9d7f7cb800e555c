//! What becomes of a line: a blank, with or without kept members, or the line with values taken
//! out.

use std::ops::Range;

use super::tree::{NodeId, Tree};
use super::walk::{Scalar, Visitor, Walker};
use crate::format::text::Broken;

const NULL: &[u8] = b"null";

/// Appends `{}`, with the kept members in it, padded to the length of the line. Kept members are
/// the bytes they were; what leads to them keeps its keys and brackets.
pub(super) fn blank(
    walker: &mut Walker,
    tree: &Tree,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    let start = out.len();
    let mut keeping = Keeping { text, tree, out, key: None, first: Vec::new() };
    walker.walk(text, tree, &mut keeping)?;
    // All of it is a subsequence of the line, so there is room.
    let length = start + text.len();
    if out.len() < length {
        out.resize(length, b' ');
    }
    Ok(())
}

/// Writes the kept members.
struct Keeping<'a> {
    text: &'a [u8],
    tree: &'a Tree,
    out: &'a mut Vec<u8>,
    /// The key of the value that follows; none for an element.
    key: Option<Range<usize>>,
    /// For each array or object being written, whether it is still empty.
    first: Vec<bool>,
}

impl Keeping<'_> {
    fn is_kept(&self, node: NodeId) -> bool {
        !self.tree.leaves(node).is_empty()
    }

    /// Writes what comes before a value: a comma, a key.
    fn begin(&mut self) {
        if let Some(first) = self.first.last_mut()
            && !std::mem::take(first)
        {
            self.out.push(b',');
        }
        if let Some(key) = self.key.take() {
            self.out.extend_from_slice(&self.text[key]);
            self.out.push(b':');
        }
    }
}

impl Visitor for Keeping<'_> {
    fn key(&mut self, _node: NodeId, span: Range<usize>) {
        self.key = Some(span);
    }

    fn scalar(
        &mut self,
        node: NodeId,
        _scalar: Scalar<'_>,
        span: Range<usize>,
    ) -> Result<(), &'static str> {
        if self.is_kept(node) {
            self.begin();
            self.out.extend_from_slice(&self.text[span]);
        }
        self.key = None;
        Ok(())
    }

    fn open(&mut self, node: NodeId, _at: usize, object: bool) {
        if !self.is_kept(node) {
            self.begin();
            self.out.push(if object { b'{' } else { b'[' });
            self.first.push(true);
        }
    }

    fn close(&mut self, node: NodeId, span: Range<usize>, object: bool) {
        if self.is_kept(node) {
            self.begin();
            self.out.extend_from_slice(&self.text[span]);
        } else {
            self.out.push(if object { b'}' } else { b']' });
            self.first.pop();
        }
    }
}

/// Appends the line with `null` for every value at the paths, padded with spaces to the value's
/// length. A value of fewer than four bytes borrows from the white space around it; where there is
/// not enough, the line grows.
pub(super) fn redact(
    walker: &mut Walker,
    tree: &Tree,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    let mut values = Values { tree, spans: Vec::new() };
    walker.walk(text, tree, &mut values)?;
    let mut at = 0;
    for span in values.spans {
        out.extend_from_slice(&text[at..span.start]);
        let mut missing = NULL.len().saturating_sub(span.len());
        at = span.end;
        while missing > 0 && text.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
            missing -= 1;
        }
        while missing > 0 && out.last().is_some_and(|&byte| is_space(byte)) {
            out.pop();
            missing -= 1;
        }
        out.extend_from_slice(NULL);
        out.resize(out.len() + span.len().saturating_sub(NULL.len()), b' ');
    }
    out.extend_from_slice(&text[at..]);
    Ok(())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Collects where values stand.
struct Values<'a> {
    tree: &'a Tree,
    spans: Vec<Range<usize>>,
}

impl Values<'_> {
    fn collect(&mut self, node: NodeId, span: Range<usize>) {
        if !self.tree.leaves(node).is_empty() {
            self.spans.push(span);
        }
    }
}

impl Visitor for Values<'_> {
    fn scalar(
        &mut self,
        node: NodeId,
        _scalar: Scalar<'_>,
        span: Range<usize>,
    ) -> Result<(), &'static str> {
        self.collect(node, span);
        Ok(())
    }

    fn close(&mut self, node: NodeId, span: Range<usize>, _object: bool) {
        self.collect(node, span);
    }
}
