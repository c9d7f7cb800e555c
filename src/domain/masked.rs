//! Rows as somebody may look at them who has to decide about them and must not read them: the shape of
//! every value, and nothing of what it says.
//!
//! A letter becomes `x` or `X`, a digit `9`; what stands between them stays, so that an address looks like
//! an address. Names of fields are shown, unless one looks like a value. Nothing here holds a value,
//! so that whatever prints, stores or sends it gives away no more than lengths and kinds of characters.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::dataset::DatasetName;
use super::object::ObjectVersion;
use super::plan::PlanId;
use super::row::{RowCount, RowNumber};

/// What the first field of a stored note on a preview says.
pub const PREVIEW_SCHEMA: &str = "lacuna.preview.v1";

/// That somebody is about to look at rows of a plan. It tells which object, and nothing of what stands in
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewNote {
    /// [`PREVIEW_SCHEMA`].
    pub schema: String,
    /// The plan.
    pub plan: PlanId,
    /// The dataset that the object is in.
    pub dataset: DatasetName,
    /// The object version.
    pub object: ObjectVersion,
    /// How many rows they asked for.
    pub rows: RowCount,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// So many characters of a value are shown, and so many fields of a row.
const MOST_CHARACTERS: usize = 60;
/// See [`MOST_CHARACTERS`].
const MOST_FIELDS: usize = 200;
/// What stands in a path for the elements of an array.
pub const EACH: &str = "[*]";

/// Punctuation that says what kind of value this is, and nothing of whose.
const KEPT: &str = " .,:;@-_/+()#%&='\"{}[]<>|!?*$\\";

/// A row, masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MaskedRow {
    /// Which row of its object.
    pub row: RowNumber,
    /// Whether an identifier of the plan's subjects stands in it, as it is now.
    pub is_theirs: bool,
    /// What stands in it, in the order of its fields.
    pub fields: Vec<MaskedField>,
    /// How many fields more there are than are listed.
    pub more_fields: usize,
}

/// A field of a row, masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MaskedField {
    /// Its name, or the mask of one that looks like a value.
    pub name: String,
    /// Its value, masked.
    pub value: Shape,
}

/// What is shown of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Shape(String);

impl Shape {
    /// The shape of a text, or of a number as it is written.
    pub fn of(text: &str) -> Self {
        let mut shape: String = text.chars().take(MOST_CHARACTERS).map(masked).collect();
        let left = text.chars().skip(MOST_CHARACTERS).count();
        if left > 0 {
            shape.push_str(&format!("… ({left} more characters)"));
        }
        Self(shape)
    }

    /// The shape of a text that may be in any encoding.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::of(text),
            Err(_) => Self::told(&format!("{} bytes", bytes.len())),
        }
    }

    /// Something about a value that says nothing of it: `null`, `12 bytes`.
    pub fn told(what: &str) -> Self {
        Self(format!("‹{what}›"))
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MaskedRow {
    /// A row of which nothing is known but its number.
    pub fn new(row: RowNumber, is_theirs: bool) -> Self {
        Self { row, is_theirs, fields: Vec::new(), more_fields: 0 }
    }

    /// Adds a field, or counts it where there are too many. What leads to it are names, and [`EACH`] for the
    /// elements of an array.
    pub fn push<'p>(
        &mut self,
        path: impl IntoIterator<Item = &'p str>,
        value: impl FnOnce() -> Shape,
    ) {
        if self.fields.len() == MOST_FIELDS {
            self.more_fields += 1;
            return;
        }
        self.fields.push(MaskedField { name: shown_path(path), value: value() });
    }
}

fn masked(character: char) -> char {
    match character {
        _ if KEPT.contains(character) => character,
        _ if character.is_numeric() => '9',
        _ if character.is_uppercase() => 'X',
        _ if character.is_alphabetic() => 'x',
        _ if character.is_whitespace() => ' ',
        _ => '·',
    }
}

/// Names as they stand, with dots between, where each looks like the name of a field. One that does not is
/// masked whole: in a map the names are data, and may be anybody's.
fn shown_path<'p>(path: impl IntoIterator<Item = &'p str>) -> String {
    let mut shown = String::new();
    for name in path {
        if !shown.is_empty() && name != EACH {
            shown.push('.');
        }
        match name == EACH || is_plain(name) {
            true => shown.push_str(name),
            false => shown.push_str(&Shape::of(name).0),
        }
    }
    shown
}

/// Whether a name looks like that of a field: letters, digits, `_`, `-`, `$`, spaces and dots, not too long, at
/// most two digits in a row.
fn is_plain(name: &str) -> bool {
    let digits = name.split(|character: char| !character.is_ascii_digit());
    name.len() <= 40
        && digits.map(str::len).all(|length| length <= 2)
        && name.chars().all(|it| it.is_ascii_alphanumeric() || "_-$ .".contains(it))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What was stored is read for good.
    #[test]
    fn a_note_of_version_1_is_read() {
        let text = include_str!("../../schema/fixtures/v1/preview.json");
        let note: PreviewNote = serde_json::from_str(text).expect("a note");
        assert_eq!((note.schema.as_str(), note.rows), (PREVIEW_SCHEMA, RowCount(5)));
        assert_eq!(serde_json::to_string_pretty(&note).expect("JSON") + "\n", text);
    }

    #[test]
    fn a_mask_shows_the_shape() {
        let shape = |text| Shape::of(text).0;
        assert_eq!(shape("Anna.Kay@example.org"), "Xxxx.Xxx@xxxxxxx.xxx");
        assert_eq!(shape("+49 171 / 23-42"), "+99 999 / 99-99");
        assert_eq!(shape("Łukasz 東京\u{7}"), "Xxxxxx xx·");
        assert_eq!(Shape::of_bytes(&[0xff, 0]).0, "‹2 bytes›");
        assert!(shape(&"a".repeat(99)).ends_with("… (39 more characters)"));
    }

    #[test]
    fn a_name_that_looks_like_a_value_is_masked() {
        let shown = |path: &[&str]| shown_path(path.iter().copied());
        assert_eq!(
            shown(&["user", "address_2", EACH, "street.name"]),
            "user.address_2[*].street.name"
        );
        assert_eq!(shown(&["by_mail", "anna.kay@example.org"]), "by_mail.xxxx.xxx@xxxxxxx.xxx");
        assert_eq!(shown(&["orders", "2026.0131"]), "orders.9999.9999");
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut row = MaskedRow::new(RowNumber(4), true);
        (0..MOST_FIELDS + 3).for_each(|_| row.push(["field"], || Shape::of("1")));
        assert_eq!((row.fields.len(), row.more_fields), (MOST_FIELDS, 3));
    }

    proptest! {
        #[test]
        fn no_letter_and_no_digit_comes_through(text: String) {
            let told = |it: char| "xX9".contains(it) || !it.is_alphanumeric();
            let shape = Shape::of(&text).0;
            let shape = shape.split('…').next().unwrap_or_default();
            prop_assert!(shape.chars().all(told));
        }
    }
}
