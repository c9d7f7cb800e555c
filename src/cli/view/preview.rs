//! Masked rows as text for a terminal.

use std::fmt::Write as _;

use crate::erase::preview::{NOBODY_HERE, Preview};
use crate::erase::report::wording::{number, plain};

pub(in crate::cli) fn rows(preview: &Preview) -> String {
    let object = format!("{}:{}", preview.dataset, preview.object.key);
    let mut text = format!("{}: {}\n", plain(&object), preview.shown());
    for row in &preview.rows {
        let _ = writeln!(text, "\nrow {}", number(row.row.0));
        if !row.is_theirs {
            let _ = writeln!(text, "  {}", NOBODY_HERE);
        }
        let width = row.fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0);
        for field in &row.fields {
            let (name, value) = (plain(&field.name), plain(field.value.as_str()));
            let _ = writeln!(text, "  {name:width$}  {value}");
        }
        if row.more_fields > 0 {
            let _ = writeln!(text, "  and {} more fields", number(row.more_fields as u64));
        }
    }
    text
}
