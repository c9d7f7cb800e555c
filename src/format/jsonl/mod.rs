//! JSON lines: a JSON object a line (RFC 8259).
//!
//! - A row's number is its line's, from 0. Lines end in LF; a CR before it belongs to the ending,
//!   any other is white space. A last line without LF counts if it is not empty.
//! - A line of white space is a row without identifiers. So is a line that is one scalar. An array
//!   is a gap, since objects may stand in it, and so is whatever is not JSON, or not just one
//!   document.
//! - Read as well, since it is written widely: `NaN` and the infinities, control characters and
//!   invalid UTF-8 in strings, lone surrogates, a byte order mark at the start of any line.
//! - `true` and `false`, arrays and objects at an identifier field are values of a foreign type;
//!   `null` is no value.
//!
//! Knows no compression and no store.

use std::ops::Range;

use super::text::{Broken, Cut, Cutter, EraseRecord, Found, Kind, ReadRecord, Syntax};
use crate::domain::dataset::EraseAction;
use crate::domain::field::{BoundFields, FieldPath};
use crate::domain::identifier::RawValue;
use crate::domain::masked::MaskedRow;
use crate::format::FormatError;

mod erase;
mod quick;
mod show;
mod tree;
mod walk;

use tree::{NodeId, Tree};
use walk::{Scalar, Visitor, Walker, decode};

/// The syntax of JSON lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jsonl;

impl Syntax for Jsonl {
    type Cutter = Lines;
    type Reader = Reader;
    type Scanner = quick::Scanner;
    type Eraser = Eraser;

    fn cutter(&self) -> Lines {
        Lines::default()
    }

    fn reader(&self, fields: &BoundFields) -> Result<Reader, FormatError> {
        let tree = Tree::new(fields.iter().map(|field| field.path()));
        Ok(Reader { walker: Walker::default(), tree, fields: fields.clone(), scratch: Vec::new() })
    }

    fn scanner(&self, fields: &BoundFields) -> Result<quick::Scanner, FormatError> {
        self.reader(fields).map(quick::Scanner::new)
    }

    fn eraser(&self, action: &EraseAction) -> Eraser {
        let (paths, redacts): (&[FieldPath], _) = match action {
            EraseAction::Blank { keep } => (keep, false),
            EraseAction::Redact { fields } => (fields, true),
        };
        Eraser { walker: Walker::default(), tree: Tree::outermost(paths), redacts }
    }

    fn show(&self, _header: &[u8], text: &[u8], row: &mut MaskedRow) {
        show::show(text, row);
    }

    fn is_blank(&self, text: &[u8]) -> bool {
        text.trim_ascii().strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii() == b"}")
    }
}

/// Finds where lines end.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// How much of the window was searched in vain.
    searched: usize,
}

impl Cutter for Lines {
    fn cut(&mut self, window: &[u8], ended: bool) -> Result<Option<Cut>, Broken> {
        let rest = window.get(self.searched..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', rest) else {
            self.searched = window.len();
            return Ok(ended.then_some(Cut { text: window.len(), ending: 0, kind: Kind::Row }));
        };
        let newline = self.searched + at;
        self.searched = 0;
        let returns = usize::from(window[..newline].ends_with(b"\r"));
        let (text, ending) = (newline - returns, returns + 1);
        Ok(Some(Cut { text, ending, kind: Kind::Row }))
    }

    fn restart(&mut self) {
        self.searched = 0;
    }
}

/// Reads the identifiers of lines.
#[derive(Clone)]
pub(super) struct Reader {
    walker: Walker,
    tree: Tree,
    fields: BoundFields,
    scratch: Vec<u8>,
}

impl ReadRecord for Reader {
    fn read(&mut self, text: &[u8], found: &mut Found) -> Result<(), Broken> {
        let Self { walker, tree, fields, scratch } = self;
        walker.walk(text, tree, &mut Identifiers { tree, fields, scratch, found })
    }
}

/// Digests what stands at identifier fields.
struct Identifiers<'a> {
    tree: &'a Tree,
    fields: &'a BoundFields,
    scratch: &'a mut Vec<u8>,
    found: &'a mut Found,
}

impl Identifiers<'_> {
    fn digest(&mut self, node: NodeId, value: RawValue<'_>) -> Result<(), &'static str> {
        for &leaf in self.tree.leaves(node) {
            let Some(field) = self.fields.iter().nth(leaf) else { continue };
            self.found.add(field.digest(value))?;
        }
        Ok(())
    }

    /// Something that is no value of any type stands there.
    fn foreign(&mut self, node: NodeId) {
        self.found.foreign += self.tree.leaves(node).len() as u32;
    }
}

impl Visitor for Identifiers<'_> {
    fn scalar(
        &mut self,
        node: NodeId,
        scalar: Scalar<'_>,
        _span: Range<usize>,
    ) -> Result<(), &'static str> {
        match scalar {
            Scalar::Null => {}
            Scalar::Literal => self.foreign(node),
            Scalar::Number(lexeme) => self.digest(node, RawValue::Number(lexeme))?,
            Scalar::Text { raw, escaped: false } => self.digest(node, RawValue::Text(raw))?,
            Scalar::Text { raw, escaped: true } if !self.tree.leaves(node).is_empty() => {
                let mut decoded = std::mem::take(self.scratch);
                decoded.clear();
                decode(raw, &mut decoded)?;
                let outcome = self.digest(node, RawValue::Text(&decoded));
                *self.scratch = decoded;
                outcome?;
            }
            Scalar::Text { .. } => {}
        }
        Ok(())
    }

    fn open(&mut self, node: NodeId, _at: usize, _object: bool) {
        self.foreign(node);
    }
}

/// Erases lines.
pub(super) struct Eraser {
    walker: Walker,
    tree: Tree,
    redacts: bool,
}

impl EraseRecord for Eraser {
    fn erase(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let Self { walker, tree, redacts } = self;
        match redacts {
            true => erase::redact(walker, tree, text, out),
            false => erase::blank(walker, tree, text, out),
        }
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
