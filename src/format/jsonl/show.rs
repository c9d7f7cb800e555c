//! A line as it may be shown: every member with its path, every value masked.

use std::ops::Range;

use super::tree::{NodeId, Tree};
use super::walk::{Scalar, Visitor, Walker, decode};
use crate::domain::masked::{EACH, MaskedRow, Shape};

/// Adds what stands in a line; of one that is no JSON object, its shape.
pub(super) fn show(text: &[u8], row: &mut MaskedRow) {
    let tree = Tree::everything();
    let mut shown = row.clone();
    let mut showing = Showing { text, row: &mut shown, path: Vec::new(), open: Vec::new() };
    match Walker::default().walk(text, &tree, &mut showing) {
        Ok(()) => *row = shown,
        Err(_) => row.push(["line"], || Shape::of_bytes(text)),
    }
}

/// Follows the path to each value.
struct Showing<'a> {
    text: &'a [u8],
    row: &'a mut MaskedRow,
    /// What leads to the value that comes next.
    path: Vec<String>,
    /// How many names of it lead to the members or elements of each object or array that is open.
    open: Vec<usize>,
}

impl Showing<'_> {
    /// Leaves the name that led to a value.
    fn leave(&mut self) {
        self.path.truncate(self.open.last().copied().unwrap_or(0));
    }

    fn push(&mut self, value: impl FnOnce() -> Shape) {
        match self.path.is_empty() {
            true => self.row.push(["line"], value),
            false => self.row.push(self.path.iter().map(String::as_str), value),
        }
        self.leave();
    }
}

impl Visitor for Showing<'_> {
    fn key(&mut self, _: NodeId, span: Range<usize>) {
        self.leave();
        let mut name = Vec::new();
        let raw = &self.text[span.start + 1..span.end - 1];
        if decode(raw, &mut name).is_err() {
            name = raw.to_vec();
        }
        self.path.push(String::from_utf8_lossy(&name).into_owned());
    }

    fn scalar(
        &mut self,
        _: NodeId,
        scalar: Scalar<'_>,
        _: Range<usize>,
    ) -> Result<(), &'static str> {
        match scalar {
            Scalar::Null => self.push(|| Shape::told("null")),
            Scalar::Literal => self.push(|| Shape::told("true, false or no number")),
            Scalar::Number(lexeme) => self.push(|| Shape::of(lexeme)),
            Scalar::Text { raw, .. } => {
                let mut decoded = Vec::new();
                decode(raw, &mut decoded)?;
                self.push(|| Shape::of_bytes(&decoded));
            }
        }
        Ok(())
    }

    fn open(&mut self, _: NodeId, _: usize, is_object: bool) {
        if !is_object {
            self.path.push(EACH.to_owned());
        }
        self.open.push(self.path.len());
    }

    fn close(&mut self, _: NodeId, span: Range<usize>, is_object: bool) {
        let is_empty = self.text[span.start + 1..span.end - 1].trim_ascii().is_empty();
        self.open.pop();
        if is_empty && !self.open.is_empty() {
            self.push(|| Shape::told(if is_object { "empty object" } else { "empty array" }));
        }
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::row::RowNumber;

    fn shown(line: &str) -> String {
        let mut row = MaskedRow::new(RowNumber(0), true);
        show(line.as_bytes(), &mut row);
        let fields =
            row.fields.iter().map(|field| format!("{} {}", field.name, field.value.as_str()));
        fields.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_member_has_its_path() {
        let line = r#"{"user": {"id": "u-17", "mail\u002e": "a\u0040b.c"}, "at": [1.5, {"x": null}, []],
                       "n": {}, "ok": true, "last": [[2]]}"#;
        insta::assert_snapshot!(shown(&line.replace('\n', " ")), @r"
        user.id x-99
        user.mail. x@x.x
        at[*] 9.9
        at[*].x ‹null›
        at[*][*] ‹empty array›
        n ‹empty object›
        ok ‹true, false or no number›
        last[*][*] 9
        ");
    }

    /// In a map the names are somebody's.
    #[test]
    fn a_name_that_is_a_value_is_masked_whole() {
        let shown = shown(r#"{"by_mail": {"anna.kay@example.org": 1}}"#);
        assert_eq!(shown, "by_mail.xxxx.xxx@xxxxxxx.xxx 9");
    }

    #[test]
    fn what_is_no_json_has_a_shape() {
        assert_eq!(shown("{\"id\": Anna"), "line {\"xx\": Xxxx");
        assert_eq!(shown("[\"Anna\"]"), "line [\"Xxxx\"]");
        assert_eq!(shown("\"Anna\""), "line Xxxx");
        assert_eq!(shown("  "), "");
    }
}
