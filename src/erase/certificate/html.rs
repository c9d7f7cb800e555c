//! The certificate as a page: within the others, or as one file that loads nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::text::became;
use super::{Certificate, Grade};
use crate::erase::report::wording::{count, moment, number, plain, reason};
use crate::erase::report::{STYLE, style_digest};

impl Certificate {
    /// The certificate as one HTML file, without a script, and with a policy that forbids any.
    pub fn to_html(&self) -> String {
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            style_digest()
        );
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="referrer" content="no-referrer";
                    meta name="robots" content="noindex";
                    title { "Certificate " (plain(&self.request)) }
                    style { (PreEscaped(STYLE)) }
                }
                body { main { (self.body()) } }
            }
        };
        page.into_string()
    }

    /// What stands in the page.
    pub fn body(&self) -> Markup {
        html! {
            h1 { "Certificate of erasure" }
            p.verdict { (self.summary()) }
            @if !self.open.is_empty() {
                h2 { "What is open" }
                ul.warnings { @for matter in &self.open { li { (plain(matter)) } } }
            }
            dl {
                dt { "Request" } dd { (plain(&self.request)) }
                dt { "Plan" } dd { code { (self.plan) } }
                dt { "Approved" }
                dd { "by " (plain(&self.approval.by)) ", " (moment(self.approval.decided_at)) }
                @if let Some(last) = self.carried_out.last_ended_at { dt { "Done" } dd { (moment(last)) } }
                dt { "Speaks of" } dd { (moment(self.as_of)) }
                dt { "Issued" } dd { (moment(self.issued_at)) }
            }
            (self.result())
            (self.who())
            (self.where_looked())
            (self.what_became())
            (self.what_remains())
            (self.how_checked())
            h2 { "Method" }
            p { (self.method.technique) }
            p { (self.method.mapping) }
            p { (self.method.tool) " " (self.method.tool_version) }
        }
    }

    fn summary(&self) -> String {
        let grade = match self.grade {
            Grade::Complete => "Complete",
            Grade::CompleteWithRetainedCopies => "Complete, with retained copies",
            Grade::Partial => "Partial: something is open",
        };
        let rows = count(self.counts.rows.0, "row", "rows");
        format!("{grade}. {rows} blanked in {}.", count(self.counts.erased, "object", "objects"))
    }

    fn result(&self) -> Markup {
        let lines = self.others();
        html! {
            @if !lines.is_empty() {
                h2 { "Result" }
                ul.plain { @for line in &lines { li { (line) } } }
            }
        }
    }

    fn who(&self) -> Markup {
        html! {
            h2 { "Data subjects" }
            (table("Data subjects", &["#Number", "Known as", "#Rows", "#Objects"], &html! {
                @for it in &self.subjects { tr {
                    td.number { (it.ordinal) } td { (it.mask.as_str()) }
                    @if it.rows.0 == 0 { td.number { "not found" } } @else { td.number { (number(it.rows.0)) } }
                    td.number { (number(it.objects)) }
                } }
            }))
        }
    }

    fn where_looked(&self) -> Markup {
        let heads =
            ["Dataset", "Location", "#Versions", "#Indexed", "#Unreadable", "#Excluded", "#Failed"];
        html! {
            h2 { "Where was looked" }
            (table("Scope", &heads, &html! {
                @for it in &self.scope { tr {
                    td { (plain(it.dataset.as_str())) }
                    td.key { (plain(it.location.as_deref().unwrap_or("no longer configured"))) }
                    @for value in [it.listed, it.indexed, it.unreadable, it.excluded, it.failed] {
                        td.number { (number(value)) }
                    }
                } }
            }))
        }
    }

    fn what_became(&self) -> Markup {
        html! {
            h2 { "Objects" }
            (table("Objects of the plan", &["Dataset", "Object", "What became of it"], &html! {
                @for it in &self.objects { tr {
                    td { (plain(it.dataset.as_str())) }
                    td.key { (plain(&it.key.to_string())) }
                    td { (plain(&became(it))) }
                } }
            }))
        }
    }

    fn what_remains(&self) -> Markup {
        html! {
            @if !self.remaining.is_empty() {
                h2 { "What remains" }
                (table("Copies that remain", &["Dataset", "Object", "Version", "#Rows", "Why"], &html! {
                    @for it in &self.remaining { tr {
                        td { (plain(it.dataset.as_str())) }
                        td.key { (plain(&it.key.to_string())) }
                        td.key { (plain(it.object.as_ref().map_or("–", |it| it.version.as_str()))) }
                        td.number { (number(it.rows.0)) }
                        td { (reason(&it.reason)) }
                    } }
                }))
            }
        }
    }

    fn how_checked(&self) -> Markup {
        html! {
            h2 { "Verification" }
            @match &self.verification {
                None => { p { "None." } }
                Some(it) => {
                    p {
                        (plain(&it.method)) ": " (count(it.rows.0, "row", "rows")) " of "
                        (count(it.versions, "version", "versions")) " of "
                        (count(it.objects, "object", "objects")) ", ended " (moment(it.ended_at)) ". "
                        "Subjects were met in " (count(it.met, "version", "versions")) "."
                        @if it.unreadable > 0 {
                            " " (count(it.unreadable, "version", "versions")) " could not be read in full."
                        }
                    }
                    @if let Some(bound) = it.sample_bound_percent {
                        p {
                            (count(it.sample_versions, "version", "versions")) " of other objects were read: "
                            "with 95 % confidence at most " (format!("{bound:.2}")) " % of them hold a row."
                        }
                    }
                }
            }
        }
    }
}

/// A table: caption, heads (those of numbers begin with `#`), and rows.
fn table(caption: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                thead { tr { @for head in heads {
                    @match head.strip_prefix('#') {
                        Some(head) => { th.number scope="col" { (head) } }
                        None => { th scope="col" { (head) } }
                    }
                } } }
                tbody { (rows) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dataset::DatasetName;
    use crate::domain::object::ObjectKey;

    fn example() -> Certificate {
        let text = include_str!("../../../schema/fixtures/v1/certificate.json");
        serde_json::from_str(text).expect("a certificate")
    }

    #[test]
    fn the_page_reads_well() {
        insta::assert_snapshot!(example().to_html());
    }

    /// Foreign text stays text, and the page loads nothing.
    #[test]
    fn hostile_text_stays_text() {
        let tags = |page: &str| page.matches('<').count();
        let clean = example().to_html();
        for word in ["<script", "href=", "src=", "http://", "https://", "url(", "@import"] {
            assert!(!clean.contains(word), "{word}");
        }
        for hostile in
            ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a\u{202e}b\u{1b}[2J"]
        {
            let mut certificate = example();
            certificate.request = hostile.to_owned();
            certificate.approval.by = hostile.to_owned();
            for object in &mut certificate.objects {
                object.key = ObjectKey::from(hostile);
                object.dataset = DatasetName::new(hostile);
            }
            for left in &mut certificate.remaining {
                left.key = ObjectKey::from(hostile);
            }
            for scope in &mut certificate.scope {
                scope.location = Some(hostile.to_owned());
            }
            let page = certificate.to_html();
            assert_eq!(tags(&page), tags(&clean), "{hostile:?} became markup");
            assert!(!page.contains(['\u{202e}', '\u{1b}']), "{hostile:?}");
        }
    }
}
