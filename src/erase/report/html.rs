//! The purge report as one self-contained HTML file: no script, nothing loaded from anywhere, a policy
//! that forbids both. [`Page`] takes markup only as text known when the program was compiled, and
//! escapes everything else, so that no key or reference can become markup.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};

use super::text::shown_percent;
use super::wording::{self, count, moment, number, plain, size};
use super::{PurgeReport, ReportedChange, ReportedDataset};
use crate::domain::coverage::Coverage;
use crate::domain::dataset::Compression;
use crate::domain::plan::Estimate;

pub(in crate::erase) const STYLE: &str = include_str!("style.css");

/// The report as a page.
pub fn html(report: &PurgeReport) -> String {
    let mut page = Page(String::new());
    page.head(report);
    page.header(report);
    page.warnings(report);
    page.subjects(report);
    for dataset in &report.datasets {
        page.dataset(dataset);
    }
    page.out_of_reach(report);
    page.coverage(&report.coverage);
    page.markup("<footer>Made by Lacuna from the plan named above. It holds no identifier of ");
    page.markup("a data subject; subjects are numbered as in the request.</footer>\n");
    page.markup("</main>\n</body>\n</html>\n");
    page.0
}

/// A page as it grows.
struct Page(String);

impl Page {
    /// Markup of our own.
    fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Anything else, escaped for content and quoted attributes alike.
    fn text(&mut self, text: impl fmt::Display) {
        let _ = write!(Escape(&mut self.0), "{}", plain(&text.to_string()));
    }

    /// `text` between two pieces of markup.
    fn wrap(&mut self, open: &'static str, text: impl fmt::Display, close: &'static str) {
        self.markup(open);
        self.text(text);
        self.markup(close);
    }

    fn cell(&mut self, text: impl fmt::Display) {
        self.wrap("<td>", text, "</td>");
    }

    fn number(&mut self, value: u64) {
        self.wrap("<td class=\"number\">", number(value), "</td>");
    }

    fn key(&mut self, key: impl fmt::Display) {
        self.wrap("<td class=\"key\">", key, "</td>");
    }

    /// A table: caption, heads (those of numbers begin with `#`), and a body.
    fn table(&mut self, caption: &str, heads: &[&'static str], body: impl FnOnce(&mut Self)) {
        self.markup("<div class=\"scroll\"><table>\n");
        self.wrap("<caption>", caption, "</caption>\n");
        self.markup("<thead><tr>");
        for head in heads {
            match head.strip_prefix('#') {
                Some(head) => self.wrap("<th scope=\"col\" class=\"number\">", head, "</th>"),
                None => self.wrap("<th scope=\"col\">", head, "</th>"),
            }
        }
        self.markup("</tr></thead>\n<tbody>\n");
        body(self);
        self.markup("</tbody>\n</table></div>\n");
    }

    fn head(&mut self, report: &PurgeReport) {
        self.markup("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        self.markup("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
        self.wrap(
            "style-src 'sha256-",
            style_digest(),
            "'; base-uri 'none'; form-action 'none'\">\n",
        );
        self.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        self.markup("<meta name=\"referrer\" content=\"no-referrer\">\n");
        self.markup("<meta name=\"robots\" content=\"noindex\">\n");
        self.wrap("<title>Purge report ", &report.request, "</title>\n<style>");
        self.markup(STYLE);
        self.markup("</style>\n</head>\n<body>\n<main>\n");
    }

    fn header(&mut self, report: &PurgeReport) {
        self.wrap("<h1>Purge report ", &report.request, "</h1>\n<dl>\n");
        self.wrap("<dt>Plan</dt><dd><code>", report.plan_id, "</code></dd>\n");
        self.wrap("<dt>Planned</dt><dd>", moment(report.planned_at), "</dd>\n");
        self.wrap("<dt>Can be approved until</dt><dd>", moment(report.expires_at), "</dd>\n");
        self.markup("</dl>\n");
        self.wrap("<p class=\"verdict\">", &report.verdict, "</p>\n");
        if let Some(anew) = wording::anew(report.written_bytes, report.size_bytes) {
            self.wrap("<p>", anew, "</p>\n");
        }
    }

    fn warnings(&mut self, report: &PurgeReport) {
        if report.warnings.is_empty() {
            return;
        }
        self.markup("<h2>Before you decide</h2>\n<ul class=\"warnings\">\n");
        for warning in &report.warnings {
            self.wrap("<li>", &warning.text, "</li>\n");
        }
        self.markup("</ul>\n");
    }

    fn subjects(&mut self, report: &PurgeReport) {
        if !report.not_found.is_empty() {
            self.markup("<h2>Not found</h2>\n");
            let caption = count(report.not_found.len() as u64, "subject", "subjects");
            let caption = format!("{caption} of whom the index knows no row");
            self.table(&caption, &["#Number", "Known as"], |page| {
                for subject in &report.not_found {
                    page.markup("<tr>");
                    page.number(subject.ordinal.into());
                    page.cell(subject.mask.as_str());
                    page.markup("</tr>\n");
                }
            });
        }
        if report.subjects.is_empty() {
            return;
        }
        self.markup("<h2>Subjects</h2>\n");
        let heads = ["#Number", "Known as", "#Rows", "#Objects"];
        self.table("Rows in all kept versions of objects", &heads, |page| {
            for subject in &report.subjects {
                page.markup("<tr>");
                page.number(subject.ordinal.into());
                page.cell(subject.mask.as_str());
                page.number(subject.rows.0);
                page.number(subject.objects);
                page.markup("</tr>\n");
            }
        });
    }

    fn dataset(&mut self, dataset: &ReportedDataset) {
        self.wrap("<h2>Dataset ", dataset.dataset.as_str(), "</h2>\n");
        let caption = format!(
            "{} of {} the index knows, in {}",
            number(dataset.rows.0),
            count(dataset.rows_total.0, "row", "rows"),
            count(dataset.changes.len() as u64, "object", "objects"),
        );
        let heads = [
            "Object",
            "#Rows",
            "#Of",
            "Size",
            "To write",
            "To copy",
            "How",
            "Format",
            "Storage class",
            "Version",
            "Versions deleted",
        ];
        self.table(&caption, &heads, |page| {
            for change in &dataset.changes {
                page.change(change);
            }
        });
    }

    fn change(&mut self, change: &ReportedChange) {
        self.markup("<tr>");
        self.key(&change.key);
        match &change.rewrite {
            Some(rewrite) => {
                self.number(rewrite.rows.0);
                self.number(rewrite.rows_total.0);
                self.cell(size(rewrite.size_bytes));
                self.estimate(rewrite.estimate.as_ref());
                match rewrite.compression {
                    Compression::None => self.cell(rewrite.format),
                    compression => self.cell(format_args!("{}, {compression}", rewrite.format)),
                }
                self.cell(rewrite.storage_class.as_deref().unwrap_or("–"));
                self.key(&rewrite.version);
            }
            None => self.markup(
                "<td class=\"number\">–</td><td class=\"number\">–</td><td>–</td><td>–</td>\
                 <td>–</td><td>–</td><td>–</td><td>–</td><td>–</td>",
            ),
        }
        let expunge: Vec<&str> = change.expunge.iter().map(|version| version.as_str()).collect();
        self.key(if expunge.is_empty() { "–".to_owned() } else { expunge.join(", ") });
        self.markup("</tr>\n");
    }

    /// What the rewrite will take, in three cells.
    fn estimate(&mut self, estimate: Option<&Estimate>) {
        let Some(Estimate { way, written_bytes, copied_bytes, requests }) = estimate else {
            return self.markup("<td>–</td><td>–</td><td>–</td>");
        };
        self.cell(format_args!("about {}", size(*written_bytes)));
        self.cell(format_args!("about {}", size(*copied_bytes)));
        let requests = count(*requests, "request", "requests");
        self.cell(format_args!("{}; about {requests}", wording::way(way)));
    }

    fn out_of_reach(&mut self, report: &PurgeReport) {
        if report.out_of_reach.is_empty() {
            return;
        }
        self.markup("<h2>Out of reach</h2>\n");
        let heads = ["Dataset", "Object", "Version", "#Rows known", "Why"];
        self.table("What may hold rows of the subjects and stays as it is", &heads, |page| {
            for entry in &report.out_of_reach {
                page.markup("<tr>");
                page.cell(entry.dataset.as_str());
                page.key(&entry.key);
                page.key(entry.version.as_ref().map_or("–", |version| version.as_str()));
                match entry.rows.0 {
                    0 => page.markup("<td class=\"number\">–</td>"),
                    rows => page.number(rows),
                }
                page.cell(&entry.text);
                page.markup("</tr>\n");
            }
        });
    }

    fn coverage(&mut self, coverage: &[Coverage]) {
        self.markup("<h2>What the index knew</h2>\n");
        let heads =
            ["Dataset", "#Listed", "#Indexed", "#Unreadable", "#Excluded", "#Failed", "#Of scope"];
        let caption = "Kept versions of objects: listed = indexed + unreadable + excluded + failed";
        self.table(caption, &heads, |page| {
            for of in coverage {
                page.markup("<tr>");
                page.cell(of.dataset.as_str());
                for value in [of.listed, of.indexed, of.unreadable, of.excluded, of.failed] {
                    page.number(value);
                }
                let percent = format!("{:.1} %", shown_percent(of));
                page.wrap("<td class=\"number\">", percent, "</td></tr>\n");
            }
        });
        if coverage.iter().all(|of| of.gaps.is_empty()) {
            return;
        }
        let heads = ["Dataset", "Object", "#Versions", "Why"];
        self.table("What is not indexed, and why", &heads, |page| {
            for (of, gap) in coverage.iter().flat_map(|of| of.gaps.iter().map(move |gap| (of, gap)))
            {
                page.markup("<tr>");
                page.cell(of.dataset.as_str());
                page.key(&gap.key);
                page.number(gap.versions);
                page.cell(&gap.reason);
                page.markup("</tr>\n");
            }
        });
    }
}

/// Writes text as HTML text, for content and quoted attributes (HTML 5, 13.1.2.3 and 13.2.5).
struct Escape<'a>(&'a mut String);

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

/// What the policy allows as the only style: SHA-256 of the sheet (CSP Level 3, 2.3.1).
pub(in crate::erase) fn style_digest() -> String {
    base64(&Sha256::digest(STYLE))
}

/// Bytes as base64 with padding (RFC 4648, 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, 10.
    #[test]
    fn base64_is_as_the_standard_says() {
        let vectors = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(vectors.map(|text| base64(text.as_bytes())), expected);
    }
}
