//! The parts of the purge report as the page shows them.

use maud::{Markup, html};

use crate::domain::coverage::Coverage;
use crate::domain::dataset::Compression;
use crate::erase::difference::Difference;
use crate::erase::report::PurgeReport;
use crate::erase::report::wording::{count, number, plain, size, way};
use crate::server::objects::{self, Line, Page, Query, Sort};
use crate::server::pages::layout::table;

pub(super) fn warnings(report: &PurgeReport) -> Markup {
    html! {
        @if !report.warnings.is_empty() {
            h2 { "Before you decide" }
            ul.warnings { @for warning in &report.warnings { li { (warning.text) } } }
        }
    }
}

pub(super) fn difference(difference: &Difference) -> Markup {
    let Difference { earlier, added, dropped, changed, same, rows_before, rows_now, out_of_reach } =
        difference;
    let objects = |of: u64| count(of, "object", "objects");
    html! {
        h2 { "Since the plan before" }
        p {
            "Against " a href=(format!("/plans/{earlier}")) { code { (earlier.prefix()) } } " there are "
            (objects(*added)) " more, " (objects(*dropped)) " less, " (objects(*changed))
            " dealt with otherwise, and " (objects(*same)) " as before. Rows: "
            (number(*rows_before)) " then, " (number(*rows_now)) " now; out of reach: "
            (number(out_of_reach[0])) " then, " (number(out_of_reach[1])) " now."
        }
    }
}

pub(super) fn subjects(report: &PurgeReport) -> Markup {
    html! {
        @if !report.not_found.is_empty() {
            h2 { "Not found" }
            p { (count(report.not_found.len() as u64, "subject", "subjects"))
                " of whom the index knows no row" }
            (table("Subjects that were not found", html! {
                th.number scope="col" { "Number" } th scope="col" { "Known as" }
            }, html! {
                @for subject in &report.not_found {
                    tr { td.number { (subject.ordinal) } td { (plain(subject.mask.as_str())) } }
                }
            }))
        }
        @if !report.subjects.is_empty() {
            h2 { "Subjects" }
            (table("Subjects, with rows in all kept versions of objects", html! {
                th.number scope="col" { "Number" } th scope="col" { "Known as" }
                th.number scope="col" { "Rows" } th.number scope="col" { "Objects" }
            }, html! {
                @for subject in &report.subjects {
                    tr {
                        td.number { (subject.ordinal) } td { (plain(subject.mask.as_str())) }
                        td.number { (number(subject.rows.0)) }
                        td.number { (number(subject.objects)) }
                    }
                }
            }))
        }
    }
}

/// The objects, a page of them; with a box to tick and a button to see rows where somebody may decide, for
/// whom there is a form to ask for rows by.
pub(super) fn objects(report: &PurgeReport, query: &Query, preview: Option<&Markup>) -> Markup {
    let may_decide = preview.is_some();
    let page = objects::page(report, query);
    html! {
        h2 #objects { "Objects" }
        (by_dataset(report))
        (filter(report, query))
        p { (count(page.found as u64, "object", "objects")) }
        @if let Some(form) = preview { (form) }
        (table("Objects that change", heads(query, may_decide), html! {
            @for line in &page.lines { (row(line, may_decide)) }
        }))
        (pager(&page, query))
    }
}

fn by_dataset(report: &PurgeReport) -> Markup {
    html! {
        ul.plain {
            @for it in &report.datasets {
                li {
                    strong { (plain(it.dataset.as_str())) } ": " (number(it.rows.0)) " of "
                    (count(it.rows_total.0, "row", "rows")) " in "
                    (count(it.changes.len() as u64, "object", "objects"))
                }
            }
        }
    }
}

fn filter(report: &PurgeReport, query: &Query) -> Markup {
    html! {
        form.filter method="get" action="#objects" role="search" {
            label for="q" { "Part of the key" }
            input #q name="q" type="search" value=(plain(&query.q));
            label for="dataset" { "Dataset" }
            select #dataset name="dataset" {
                option value="" { "all" }
                @for it in &report.datasets {
                    option value=(it.dataset) selected[query.dataset == it.dataset.as_str()] {
                        (plain(it.dataset.as_str()))
                    }
                }
            }
            input type="hidden" name="sort" value=(query.sort.as_str());
            button.quiet type="submit" { "Show" }
        }
    }
}

/// The address of the same page with another order or another page number.
fn address(query: &Query, sort: Sort, page: usize) -> String {
    let mut fields = form_urlencoded::Serializer::new(String::from("?"));
    fields.append_pair("q", &query.q).append_pair("dataset", &query.dataset);
    fields.append_pair("sort", sort.as_str()).append_pair("page", &page.to_string());
    fields.finish() + "#objects"
}

fn heads(query: &Query, may_decide: bool) -> Markup {
    let sortable = |sort: Sort, class: Option<&'static str>| {
        let title = Sort::ALL.iter().find(|(it, ..)| *it == sort).map_or("", |(.., title)| title);
        let order = if sort == Sort::Key { "ascending" } else { "descending" };
        html! {
            th scope="col" class=[class] aria-sort=[(query.sort == sort).then_some(order)] {
                a href=(address(query, sort, 1)) { (title) }
            }
        }
    };
    html! {
        @if may_decide { th scope="col" { "Leave out" } th scope="col" { "Look at" } }
        th scope="col" { "Dataset" }
        (sortable(Sort::Key, None))
        (sortable(Sort::Rows, Some("number"))) th.number scope="col" { "Of" }
        (sortable(Sort::Size, Some("number"))) (sortable(Sort::Written, Some("number")))
        th scope="col" { "How" } th scope="col" { "Format" } th scope="col" { "Storage class" }
        th scope="col" { "Version" }
        (sortable(Sort::Versions, None))
    }
}

fn row(line: &Line<'_>, may_decide: bool) -> Markup {
    let key = plain(&line.change.key.to_string());
    let versions: Vec<&str> = line.change.expunge.iter().map(|version| version.as_str()).collect();
    html! {
        tr {
            @if may_decide {
                td {
                    input type="checkbox" name="except" form="approve" value=(line.name())
                        aria-label=(format!("Leave out {key}"));
                }
                td {
                    @if line.change.rewrite.is_some() {
                        button.quiet type="submit" form="preview" name="object" value=(line.name())
                            aria-label=(format!("Show rows of {key}, masked")) { "Rows" }
                    }
                }
            }
            td { (plain(line.dataset.as_str())) }
            td.key { (key) }
            @match &line.change.rewrite {
                Some(rewrite) => {
                    td.number { (number(rewrite.rows.0)) }
                    td.number { (number(rewrite.rows_total.0)) }
                    td.number { (size(rewrite.size_bytes)) }
                    @match &rewrite.estimate {
                        Some(estimate) => {
                            td.number { "about " (size(estimate.written_bytes)) }
                            td { (way(&estimate.way)) }
                        }
                        None => { td.number { "–" } td { "–" } }
                    }
                    td {
                        (rewrite.format)
                        @if rewrite.compression != Compression::None { ", " (rewrite.compression) }
                    }
                    td { (plain(rewrite.storage_class.as_deref().unwrap_or("–"))) }
                    td.key { (plain(rewrite.version.as_str())) }
                }
                None => {
                    td.number { "–" } td.number { "–" } td.number { "–" } td.number { "–" }
                    td { "–" } td { "–" } td { "–" } td { "–" }
                }
            }
            td.key { @if versions.is_empty() { "–" } @else { (plain(&versions.join(", "))) } }
        }
    }
}

fn pager(page: &Page<'_>, query: &Query) -> Markup {
    html! {
        @if page.pages > 1 {
            nav.pager aria-label="Pages of objects" {
                @if page.page > 1 {
                    a rel="prev" href=(address(query, query.sort, page.page - 1)) { "Before" }
                }
                span { "Page " (page.page) " of " (page.pages) }
                @if page.page < page.pages {
                    a rel="next" href=(address(query, query.sort, page.page + 1)) { "Next" }
                }
            }
        }
    }
}

pub(super) fn out_of_reach(report: &PurgeReport) -> Markup {
    html! {
        @if !report.out_of_reach.is_empty() {
            h2 { "Out of reach" }
            (table("What may hold rows of the subjects and stays as it is", html! {
                th scope="col" { "Dataset" } th scope="col" { "Object" } th scope="col" { "Version" }
                th.number scope="col" { "Rows known" } th scope="col" { "Why" }
            }, html! {
                @for it in &report.out_of_reach {
                    tr {
                        td { (plain(it.dataset.as_str())) }
                        td.key { (plain(&it.key.to_string())) }
                        td.key { (plain(it.version.as_ref().map_or("–", |version| version.as_str()))) }
                        td.number { @if it.rows.0 == 0 { "–" } @else { (number(it.rows.0)) } }
                        td { (it.text) }
                    }
                }
            }))
        }
    }
}

pub(super) fn coverage(report: &PurgeReport) -> Markup {
    let gaps: Vec<_> =
        report.coverage.iter().flat_map(|of| of.gaps.iter().map(move |it| (of, it))).collect();
    html! {
        h2 { "What the index knew" }
        (table("Kept versions: listed = indexed + unreadable + excluded + failed", html! {
            th scope="col" { "Dataset" } th.number scope="col" { "Listed" }
            th.number scope="col" { "Indexed" } th.number scope="col" { "Unreadable" }
            th.number scope="col" { "Excluded" } th.number scope="col" { "Failed" }
            th.number scope="col" { "Of scope" }
        }, html! { @for of in &report.coverage { (ledger_line(of)) } }))
        @if !gaps.is_empty() {
            (table("What is not indexed, and why", html! {
                th scope="col" { "Dataset" } th scope="col" { "Object" }
                th.number scope="col" { "Versions" } th scope="col" { "Why" }
            }, html! {
                @for (of, gap) in gaps {
                    tr {
                        td { (plain(of.dataset.as_str())) }
                        td.key { (plain(&gap.key.to_string())) }
                        td.number { (number(gap.versions)) }
                        td { (plain(&gap.reason)) }
                    }
                }
            }))
        }
    }
}

fn ledger_line(of: &Coverage) -> Markup {
    html! {
        tr {
            td { (plain(of.dataset.as_str())) }
            @for value in [of.listed, of.indexed, of.unreadable, of.excluded, of.failed] {
                td.number { (number(value)) }
            }
            td.number { (format!("{:.1} %", crate::erase::report::shown_percent(of))) }
        }
    }
}
