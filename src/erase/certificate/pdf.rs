//! The certificate on paper: its text on pages of A4, in a font that every reader of PDF has. It loads
//! nothing, runs nothing, and is the same whenever it is made of the same certificate.

use std::fmt::Write as _;

use pdf_writer::{Content, Date, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};
use sha2::{Digest as _, Sha256};

use super::Certificate;
use crate::domain::Timestamp;
use crate::domain::identifier::hex;

/// A page, in points: 595 × 842 is A4.
const WIDTH: f32 = 595.0;
/// See [`WIDTH`].
const HEIGHT: f32 = 842.0;
/// What stays white at each side.
const MARGIN: f32 = 60.0;
/// The size of the font, of which a character is 0.6 wide, and the distance between lines.
const SIZE: f32 = 9.5;
/// See [`SIZE`].
const LEADING: f32 = 12.5;
/// Characters that fit into a line: (595 − 2 × 60) ÷ (9.5 × 0.6).
const COLUMNS: usize = 83;
/// Lines that fit onto a page, with two for its foot.
const LINES: usize = 55;

impl Certificate {
    /// The certificate as PDF. At the foot of each page stands the SHA-256 of the certificate's JSON, which is
    /// what is signed, so that a printed page is known to belong to it.
    pub fn to_pdf(&self) -> Vec<u8> {
        let digest = hex(&Sha256::digest(self.to_bytes()));
        let text = self.to_text();
        let lines: Vec<String> = text.lines().flat_map(wrapped).collect();
        let pages: Vec<&[String]> = lines.chunks(LINES).collect();
        let mut file = Pdf::new();
        let (catalog, tree, font, information) =
            (Ref::new(1), Ref::new(2), Ref::new(3), Ref::new(4));
        let page_of = |at: usize| Ref::new(5 + 2 * i32::try_from(at).unwrap_or(i32::MAX / 4));
        let mut root = file.catalog(catalog);
        root.pages(tree).lang(TextStr("en"));
        root.viewer_preferences().display_doc_title(true);
        root.finish();
        let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
        file.pages(tree).kids((0..pages.len()).map(page_of)).count(count);
        file.type1_font(font)
            .base_font(Name(b"Courier"))
            .encoding_predefined(Name(b"WinAnsiEncoding"));
        file.document_info(information)
            .title(TextStr(&format!("Certificate of erasure {}", self.request)))
            .producer(TextStr(&format!("{} {}", self.method.tool, self.method.tool_version)))
            .creation_date(date(self.issued_at));
        for (at, lines) in pages.iter().enumerate() {
            let id = page_of(at);
            let content = Ref::new(id.get() + 1);
            let mut page = file.page(id);
            page.parent(tree).media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).contents(content);
            page.resources().fonts().pair(Name(b"F"), font);
            page.finish();
            let foot = [
                format!("SHA-256 of the certificate (JSON), page {} of {}:", at + 1, pages.len()),
                digest.clone(),
            ];
            file.stream(content, &drawn(lines, &foot));
        }
        file.finish()
    }
}

/// What draws a page.
fn drawn(lines: &[String], foot: &[String; 2]) -> Vec<u8> {
    let mut content = Content::new();
    let mut block = |y: f32, lines: &[String]| {
        content.begin_text();
        content.set_font(Name(b"F"), SIZE).set_leading(LEADING).next_line(MARGIN, y);
        for line in lines {
            content.show(Str(&encoded(line)));
            content.next_line_using_leading();
        }
        content.end_text();
    };
    block(HEIGHT - MARGIN, lines);
    block(MARGIN - LEADING, foot);
    content.finish().into_vec()
}

/// A line in as many as it takes, the others further in than the first; broken at a space, where there is
/// one. What the font does not have is spelt out before.
fn wrapped(line: &str) -> Vec<String> {
    let mut rest = String::new();
    for character in line.chars() {
        match code(character) {
            Some(_) => rest.push(character),
            None => drop(write!(rest, "{}", character.escape_unicode())),
        }
    }
    let indent: String = rest.chars().take_while(|it| *it == ' ').take(COLUMNS / 2).collect();
    let mut lines = Vec::new();
    while rest.chars().count() > COLUMNS {
        let end = rest.char_indices().nth(COLUMNS).map_or(rest.len(), |(end, _)| end);
        let at = rest[..end].rfind(' ').filter(|at| *at > indent.len() + 2).unwrap_or(end);
        let more = format!("{indent}  {}", rest[at..].trim_start());
        rest.truncate(at);
        lines.push(std::mem::replace(&mut rest, more));
    }
    lines.push(rest);
    lines
}

fn encoded(line: &str) -> Vec<u8> {
    line.chars().filter_map(code).collect()
}

/// The code of a character in the encoding WinAnsi, of which this is what certificates use.
fn code(character: char) -> Option<u8> {
    match character {
        ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(character)).ok(),
        '€' => Some(0x80),
        '…' => Some(0x85),
        '‘' => Some(0x91),
        '’' => Some(0x92),
        '“' => Some(0x93),
        '”' => Some(0x94),
        '•' => Some(0x95),
        '–' => Some(0x96),
        '—' => Some(0x97),
        _ => None,
    }
}

fn date(at: Timestamp) -> Date {
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let small = |value: i8| u8::try_from(value).unwrap_or(0);
    Date::new(u16::try_from(at.year()).unwrap_or(0))
        .month(small(at.month()))
        .day(small(at.day()))
        .hour(small(at.hour()))
        .minute(small(at.minute()))
        .second(small(at.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_it_may_and_loses_nothing() {
        let long = format!("    {} {}", "a".repeat(60), "b".repeat(100));
        let lines = wrapped(&long);
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:?}");
        assert!(lines.iter().skip(1).all(|line| line.starts_with("      ")));
        let joined: String = lines.iter().map(|line| line.trim_start()).collect();
        assert_eq!(joined, long.replace(' ', ""));
        assert_eq!(wrapped("käse – 東"), ["käse – \\u{6771}"]);
        assert_eq!(wrapped(""), [""]);
    }

    #[test]
    fn what_is_wider_than_a_page_is_in_it_all_the_same() {
        let line = " ".repeat(500) + &"x".repeat(500);
        let lines = wrapped(&line);
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS));
        assert_eq!(lines.concat().matches('x').count(), 500);
    }
}
