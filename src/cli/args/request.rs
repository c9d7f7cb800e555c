//! The commands of the request register.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use jiff::civil::Date;

use crate::domain::deadline::{Jurisdiction, LONGEST_DAYS};
use crate::domain::register::{Actor, DenialReason, Exempting, Label, Remark, RequestReference};

#[derive(Args, Debug)]
pub(in crate::cli) struct Request {
    #[command(subcommand)]
    pub command: RequestCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RequestCommand {
    /// Registers a request that came in
    #[command(after_help = "Examples:\n  \
                      lacuna request add DSR-17 --received 2026-05-04 --jurisdiction gdpr\n  \
                      lacuna request add T-9 --received 2026-05-04 --jurisdiction other --days 20")]
    Add(Add),
    /// Lists open requests, the most pressing first
    #[command(after_help = "Examples:\n  lacuna request list --due-within 7\n  \
                      lacuna request list --all --csv > requests.csv")]
    List(List),
    /// Shows a request and everything that happened to it
    #[command(after_help = "Example:\n  lacuna request show DSR-17")]
    Show(Show),
    /// Notes that the person was told that the request came in
    #[command(after_help = "Example:\n  lacuna request acknowledge DSR-17")]
    Acknowledge(Named),
    /// Notes that the person was found to be who they say
    #[command(after_help = "Example:\n  lacuna request verify DSR-17 --by ann")]
    Verify(Named),
    /// Extends the term, once, within the first term and with a reason that the person was told
    #[command(after_help = "Example:\n  \
                      lacuna request extend DSR-17 --noticed 2026-05-20 --reason 'many systems'")]
    Extend(Extend),
    /// Notes that something must not be erased for now: the whole request, a dataset or a column
    #[command(after_help = "Examples:\n  lacuna request hold DSR-17 --basis lawsuit-12\n  \
                      lacuna request hold DSR-17 --dataset invoices --column amount --basis tax \
                      --until 2036-12-31")]
    Hold(Hold),
    /// Lifts a hold; somebody else than who set it has to
    #[command(after_help = "Example:\n  lacuna request release DSR-17 --by bob")]
    Release(Release),
    /// Notes that the law exempts a dataset or a column from erasure
    #[command(after_help = "Example:\n  \
                      lacuna request exempt DSR-17 --dataset invoices --basis gdpr-17-3-b")]
    Exempt(Exempt),
    /// Notes that the request was refused, and why
    #[command(after_help = "Example:\n  \
                      lacuna request deny DSR-17 --reason not-verified --text 'no answer in 30 days'")]
    Deny(Deny),
    /// Notes that the person no longer asks for it
    #[command(after_help = "Example:\n  lacuna request withdraw DSR-17")]
    Withdraw(Named),
    /// Notes that the request is done
    #[command(after_help = "Example:\n  lacuna request close DSR-17")]
    Close(Named),
    /// Takes up a request again; its term still runs from its receipt
    #[command(after_help = "Example:\n  lacuna request reopen DSR-17")]
    Reopen(Named),
}

/// A request, and who enters something about it.
#[derive(Args, Debug)]
pub(in crate::cli) struct Named {
    /// The reference that people know the request by; no personal data
    #[arg(value_name = "REF")]
    pub reference: RequestReference,
    /// Who enters this [default: the login name]
    #[arg(long, value_name = "WHO")]
    pub by: Option<Actor>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Add {
    #[command(flatten)]
    pub named: Named,
    /// The day on which it came in, as 2026-05-04
    #[arg(long, value_name = "DAY")]
    pub received: Date,
    /// Whose law sets the term
    #[arg(long, value_name = "JURISDICTION", value_parser = jurisdictions())]
    pub jurisdiction: Jurisdiction,
    /// The term in days, for `--jurisdiction other`
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(LONGEST_DAYS)))]
    pub days: Option<u16>,
    /// The ground that the person relies on, such as gdpr-17-1-b
    #[arg(long, value_name = "CODE")]
    pub ground: Option<Label>,
    /// How it came in, such as web-form; no personal data
    #[arg(long, value_name = "TEXT")]
    pub channel: Option<Label>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    /// Also those that are closed, denied or withdrawn
    #[arg(long)]
    pub all: bool,
    /// Only what is due within so many days, or overdue
    #[arg(long, value_name = "DAYS", conflicts_with = "all")]
    pub due_within: Option<u16>,
    /// As CSV, for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Show {
    /// The reference that people know the request by
    #[arg(value_name = "REF")]
    pub reference: RequestReference,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Extend {
    #[command(flatten)]
    pub named: Named,
    /// Why; no personal data
    #[arg(long, value_name = "TEXT")]
    pub reason: Remark,
    /// The day on which the person was told [default: today, UTC]
    #[arg(long, value_name = "DAY")]
    pub noticed: Option<Date>,
}

/// A dataset, or a column of it.
#[derive(Args, Debug)]
pub(in crate::cli) struct Part {
    /// A column of the dataset, or the path to a field
    #[arg(long, value_name = "COLUMN", requires = "dataset")]
    pub column: Option<String>,
    /// The last day on which it applies [default: none]
    #[arg(long, value_name = "DAY")]
    pub until: Option<Date>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Hold {
    #[command(flatten)]
    pub named: Named,
    /// Why, as a code of your house
    #[arg(long, value_name = "CODE")]
    pub basis: Label,
    /// Only this dataset [default: the whole request]
    #[arg(long, value_name = "DATASET")]
    pub dataset: Option<String>,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Release {
    #[command(flatten)]
    pub named: Named,
    /// The number of the hold [default: the one that stands]
    #[arg(long, value_name = "NUMBER")]
    pub hold: Option<u32>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Exempt {
    #[command(flatten)]
    pub named: Named,
    /// The part of GDPR Art. 17(3) or Civil Code § 1798.105(d) that exempts it
    #[arg(long, value_name = "CODE", value_parser = exemptions())]
    pub basis: Exempting,
    /// The dataset
    #[arg(long, value_name = "DATASET")]
    pub dataset: String,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Deny {
    #[command(flatten)]
    pub named: Named,
    /// The kind of reason
    #[arg(long, value_name = "REASON", value_parser = denials())]
    pub reason: DenialReason,
    /// The reason in words; no personal data
    #[arg(long, value_name = "TEXT")]
    pub text: Remark,
}

fn jurisdictions() -> impl TypedValueParser<Value = Jurisdiction> {
    coded(&Jurisdiction::ALL, Jurisdiction::as_str)
}

fn exemptions() -> impl TypedValueParser<Value = Exempting> {
    coded(&Exempting::ALL, Exempting::as_str)
}

fn denials() -> impl TypedValueParser<Value = DenialReason> {
    coded(&DenialReason::ALL, DenialReason::as_str)
}

/// One of these values, by its code.
fn coded<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    code: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|value| code(*value))).try_map(move |text| {
        all.iter().copied().find(|value| code(*value) == text).ok_or("not one of the codes")
    })
}
