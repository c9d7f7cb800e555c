//! The command line as clap reads it. Doc comments are the help that people see.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(super) mod audit;
pub(super) mod preview;
pub(super) mod request;

/// Finds each person's records in a data lake and erases them, after a person approved the plan
#[derive(Debug, Parser)]
#[command(
    name = "lacuna",
    version,
    max_term_width = 100,
    after_help = "Example:\n  lacuna init && lacuna index && lacuna plan --subject user=42\n\n\
                  Exit codes are listed in docs/exit-codes.md, settings in docs/configuration.md."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Global {
    /// The configuration [default: the nearest lacuna.toml from here upwards]
    #[arg(long, global = true, value_name = "FILE", env = "LACUNA_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
    /// One JSON document on standard output, instead of text
    #[arg(long, global = true, env = "LACUNA_JSON", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// No progress and no messages but errors
    #[arg(short, long, global = true, env = "LACUNA_QUIET", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new(), conflicts_with = "verbose")]
    pub quiet: bool,
    /// More messages
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "LACUNA_COLOR",
        hide_env = true,
        default_value = "auto"
    )]
    pub color: Color,
    /// Never ask; fail where an answer is needed
    #[arg(long, global = true, env = "LACUNA_NO_INPUT", hide_env = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub no_input: bool,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Writes a commented lacuna.toml and a fresh digest key
    #[command(after_help = "Example:\n  lacuna init erasure")]
    Init(Init),
    /// Makes a small lake of invented people and runs the whole story on it
    #[command(after_help = "Examples:\n  lacuna demo --dir lacuna-demo\n  lacuna demo --serve")]
    Demo(Demo),
    /// Examines lake, ledger and index, and names the remedy of what it finds
    ///
    /// Permissions, versioning, locks, lifecycle, replication, conditional writes, clocks, free disk. It
    /// writes scratch objects whose names begin with .lacuna-probe-doctor-, and removes them.
    #[command(
        after_help = "Examples:\n  lacuna doctor\n  lacuna doctor reviews --read-only --json"
    )]
    Doctor(Doctor),
    /// Brings the index in step with the lake; incremental, resumable
    #[command(after_help = "Examples:\n  lacuna index\n  lacuna index reviews --full\n  \
                      lacuna index --inventory s3://reports/lake/daily/2026-05-01T01-00Z/manifest.json")]
    Index(Index),
    /// Shows coverage, the size of the index, open requests and plans, and what to do next
    #[command(after_help = "Examples:\n  lacuna status --json\n  lacuna status --due 7")]
    Status(Status),
    /// Shows where a subject's records are: object versions and rows
    #[command(
        after_help = "Examples:\n  lacuna find user=42\n  lacuna find --subjects - < request.csv"
    )]
    Find(Find),
    /// Keeps the register of requests: what came in when, until when it is due, what became of it
    #[command(after_help = "Examples:\n  \
                      lacuna request add DSR-17 --received 2026-05-04 --jurisdiction gdpr\n  \
                      lacuna request list\n  lacuna request close DSR-17")]
    Request(request::Request),
    /// Plans an erasure and prints the purge report; never writes to the lake
    #[command(after_help = "Examples:\n  lacuna plan --subject user=42 --request T-1001\n  \
                      lacuna plan --subjects request.csv --dataset reviews")]
    Plan(Plan),
    /// Prints the purge report of a plan again
    #[command(after_help = "Example:\n  lacuna show 5f0c1d2e --html report.html")]
    Show(Show),
    /// Shows rows that a plan would blank, masked: shapes of values, not what they say
    ///
    /// They are read from the lake, kept nowhere, and it is noted in the trail who looked.
    #[command(after_help = "Example:\n  lacuna preview 5f0c1d2e reviews:reviews/1.json --by ann")]
    Preview(preview::Preview),
    /// Approves a plan, so that it can be carried out
    #[command(after_help = "Examples:\n  lacuna approve 5f0c1d2e --by ann\n  \
                      lacuna approve 5f0c1d2e --by ann --confirm 5f0c1d2e --except reviews/1.json")]
    Approve(Approve),
    /// Rejects a plan
    #[command(
        after_help = "Example:\n  lacuna reject 5f0c1d2e --by ann --reason 'the wrong person'"
    )]
    Reject(Reject),
    /// Sends the mails that are due: what waits for approvers, and what became of it
    #[command(
        after_help = "Example:\n  lacuna notify    # as often as you like: each mail is sent once"
    )]
    Notify,
    /// Makes a link by which an approver decides on a plan once, without signing in
    #[command(after_help = "Examples:\n  lacuna link 5f0c1d2e --approver ann\n  \
                      lacuna link 5f0c1d2e --approver ann --reject")]
    Link(Link),
    /// Carries out an approved plan; the same command resumes it
    ///
    /// With --subject or --subjects it plans, shows the report, asks, and carries out: one sitting.
    #[command(
        override_usage = "lacuna erase [OPTIONS] <PLAN>\n       \
                          lacuna erase [OPTIONS] <--subject <SUBJECT>|--subjects <FILE>>",
        after_help = "Examples:\n  lacuna erase 5f0c1d2e\n  lacuna erase --subject user=42 --by ann"
    )]
    Erase(Erase),
    /// Reads the lake and tells whether a subject's rows are left
    ///
    /// Trusts neither the journal nor the index for what it reads.
    #[command(
        override_usage = "lacuna verify [OPTIONS] <PLAN>\n       \
                          lacuna verify [OPTIONS] <--subject <SUBJECT>|--subjects <FILE>>",
        after_help = "Examples:\n  lacuna verify 5f0c1d2e --deep 10\n  \
                      lacuna verify --subject user=42"
    )]
    Verify(Verify),
    /// Prints the evidence for a request: what, where, when, by whom, what remains and why
    #[command(after_help = "Example:\n  lacuna certificate 5f0c1d2e > certificate.txt")]
    Certificate(Certificate),
    /// Checks the evidence: the trail of what was decided and done, and the documents that it names
    #[command(
        after_help = "Examples:\n  lacuna audit verify\n  lacuna audit verify --anchor 41:9f86d0…"
    )]
    Audit(audit::Audit),
    /// Drops blanks, renumbers rows, and scans again
    #[command(after_help = "Example:\n  lacuna vacuum reviews")]
    Vacuum(Vacuum),
    /// Makes, migrates, copies or checks an index
    #[command(after_help = "Examples:\n  lacuna metastore create\n  \
                      lacuna metastore copy file:.lacuna/index postgres://lacuna@db/lacuna\n  \
                      lacuna metastore copy file:.lacuna/index --replace\n  lacuna metastore check")]
    Metastore(Metastore),
    /// Serves the pages to review and decide on plans, and the API
    ///
    /// Who may sign in stands in [[server.user]] of the configuration.
    #[command(after_help = "Example:\n  lacuna serve --listen 127.0.0.1:8620")]
    Serve(Serve),
    /// Prints the hash of a password, or a token and its digest, for [[server.user]]
    ///
    /// The password is asked for, or read from standard input; it is never an argument.
    #[command(after_help = "Examples:\n  lacuna password\n  lacuna password --token")]
    Password(Password),
    /// Prints the digest of an identifier, for use in queries on the metastore
    #[command(after_help = "Example:\n  lacuna digest user=42")]
    Digest(Digest),
    /// Prints the completions of a shell
    #[command(after_help = "Example:\n  lacuna completions bash > /etc/bash_completion.d/lacuna")]
    Completions(Completions),
    /// Prints the manual page of lacuna or of one of its commands
    #[command(after_help = "Example:\n  lacuna man plan > lacuna-plan.1")]
    Man(Man),
}

#[derive(Args, Debug)]
pub(super) struct Init {
    /// Where; made if it does not exist
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Demo {
    /// Where; must not exist yet
    #[arg(long, value_name = "DIR", default_value = "lacuna-demo")]
    pub dir: PathBuf,
    /// Plans a second request at the end, and serves the pages to decide on it
    #[arg(long)]
    pub serve: bool,
}

#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// The datasets [default: all]
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
    /// Writes nothing to lake, ledger and tables; what takes writing to find out is told as unknown
    #[arg(long)]
    pub read_only: bool,
}

#[derive(Args, Debug)]
pub(super) struct Index {
    /// The datasets [default: all]
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
    /// Scans again what is unchanged
    #[arg(long)]
    pub full: bool,
    /// Throws the whole index away, sound or damaged, and makes it anew from the lake
    #[arg(long, conflicts_with_all = ["datasets", "full", "objects", "inventory"])]
    pub rebuild: bool,
    /// Just these objects, one JSON object a line; `-` is standard input
    ///
    /// Fields: dataset, key, and where they matter version, etag, size. Nothing else is looked at or
    /// forgotten.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["datasets", "inventory"])]
    pub objects: Option<PathBuf>,
    /// Takes the listing from an S3 Inventory report: a manifest.json by path or s3:// URL
    ///
    /// What was written after the report is not in it, and nothing is forgotten on its word.
    #[arg(long, value_name = "MANIFEST")]
    pub inventory: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Status {
    /// Lists open requests by due day instead, overdue first; DAYS: only what is due within them
    ///
    /// Ends with 15 where a request is overdue.
    #[arg(long, value_name = "DAYS", num_args = 0..=1)]
    pub due: Option<Option<u16>>,
}

#[derive(Args, Debug)]
pub(super) struct Find {
    /// VALUE or NAMESPACE=VALUE
    #[arg(value_name = "SUBJECT", required_unless_present = "subjects")]
    pub subject: Vec<String>,
    /// One subject a line, or CSV whose header names namespaces; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub subjects: Option<PathBuf>,
}

/// Whose records are meant.
#[derive(Args, Debug)]
#[group(id = "whom", required = true, multiple = true)]
pub(super) struct Whom {
    /// VALUE or NAMESPACE=VALUE; shows in process lists, which a file does not
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Vec<String>,
    /// One subject a line, or CSV whose header names namespaces; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub subjects: Option<PathBuf>,
}

/// The same, where a plan may stand instead.
#[derive(Args, Debug)]
pub(super) struct PlanOrWhom {
    /// A plan's id, or its first 8 or more characters
    #[arg(value_name = "PLAN", conflicts_with_all = ["subject", "subjects"])]
    #[arg(required_unless_present_any = ["subject", "subjects"])]
    pub plan: Option<String>,
    /// VALUE or NAMESPACE=VALUE; shows in process lists, which a file does not
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Vec<String>,
    /// One subject a line, or CSV whose header names namespaces; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub subjects: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Plan {
    #[command(flatten)]
    pub whom: Whom,
    #[command(flatten)]
    pub scope: Scope,
}

/// What a request is called, and where it applies.
#[derive(Args, Debug)]
pub(super) struct Scope {
    /// The reference that people know the request by; no personal data [default: the time]
    #[arg(long, value_name = "REF")]
    pub request: Option<String>,
    /// Only this dataset; may be repeated [default: all]
    #[arg(long = "dataset", value_name = "DATASET")]
    pub datasets: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// A plan's id, or its first 8 or more characters
    pub plan: String,
    /// Writes the report as one self-contained HTML file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Approve {
    /// A plan's id, or its first 8 or more characters
    pub plan: String,
    /// Who approves
    #[arg(long, value_name = "WHO")]
    pub by: String,
    /// The first 8 characters of the plan's id, instead of typing them
    #[arg(long, value_name = "PREFIX")]
    pub confirm: Option<String>,
    /// Leaves this object as it is: KEY or DATASET:KEY; may be repeated
    #[arg(long, value_name = "OBJECT", num_args = 1..)]
    pub except: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Reject {
    /// A plan's id, or its first 8 or more characters
    pub plan: String,
    /// Who rejects
    #[arg(long, value_name = "WHO")]
    pub by: String,
    /// Why; no personal data
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Args, Debug)]
pub(super) struct Link {
    /// A plan's id, or its first 8 or more characters
    pub plan: String,
    /// Whose link it is: a [[server.user]] with the role `approver`
    #[arg(long, value_name = "NAME")]
    pub approver: String,
    /// A link to reject instead of one to approve
    #[arg(long)]
    pub reject: bool,
}

#[derive(Args, Debug)]
pub(super) struct Erase {
    #[command(flatten)]
    pub what: PlanOrWhom,
    #[command(flatten)]
    pub scope: Scope,
    /// Who approves, in one sitting [default: the login name]
    #[arg(long, value_name = "WHO", conflicts_with = "plan")]
    pub by: Option<String>,
    /// The first 8 characters of the plan's id, instead of typing them
    #[arg(long, value_name = "PREFIX")]
    pub confirm: Option<String>,
    /// Reads every object whole before and after its rewrite, and not just what has to change
    #[arg(long)]
    pub deep: bool,
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    pub what: PlanOrWhom,
    /// Reads this share of the objects that the index says are free of the subject
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub deep: Option<u8>,
}

#[derive(Args, Debug)]
pub(super) struct Certificate {
    /// A plan's id, or its first 8 or more characters
    pub plan: String,
    /// Writes the certificate as PDF as well
    #[arg(long, value_name = "FILE")]
    pub pdf: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Vacuum {
    /// The datasets [default: all]
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Metastore {
    #[command(subcommand)]
    pub command: MetastoreCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum MetastoreCommand {
    /// Makes what the configured index needs: its folder, or its tables
    #[command(after_help = "Example:\n  lacuna metastore create")]
    Create,
    /// Brings the tables of the configured index up to this version
    ///
    /// `lacuna index` does so too; this is for whoever deploys before anybody indexes.
    #[command(after_help = "Example:\n  lacuna metastore migrate")]
    Migrate,
    /// Copies an index to another place and compares the two
    ///
    /// Both have to be of the configured digest key. What is there already is passed over: the same
    /// command goes on where one was broken off. An index that holds something else is refused. Nobody
    /// should index or erase meanwhile.
    #[command(after_help = "Examples:\n  \
                      lacuna metastore copy file:.lacuna/index postgres://lacuna@db/lacuna\n  \
                      lacuna metastore copy file:.lacuna/index --replace")]
    Copy(MetastoreCopy),
    /// Reads the whole configured index once and tells where it contradicts itself
    ///
    /// Every posting is held against the record of its object version. It changes nothing.
    #[command(after_help = "Example:\n  lacuna metastore check --json")]
    Check,
}

#[derive(Args, Debug)]
pub(super) struct MetastoreCopy {
    /// The index to read, as in `metastore.url`
    #[arg(value_name = "FROM")]
    pub from: String,
    /// The index to write, made if it does not exist [default: the configured one]
    #[arg(value_name = "TO")]
    pub to: Option<String>,
    /// Removes from TO what FROM does not have, or has otherwise, instead of refusing
    #[arg(long)]
    pub replace: bool,
}

#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Where to listen [default: `listen` of [server], else 127.0.0.1:8620]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
}

#[derive(Args, Debug)]
pub(super) struct Password {
    /// Makes a random token for the API instead
    #[arg(long)]
    pub token: bool,
}

#[derive(Args, Debug)]
pub(super) struct Digest {
    /// VALUE or NAMESPACE=VALUE
    pub subject: String,
}

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Which shell
    pub shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// The command [default: lacuna itself]
    pub command: Option<String>,
}
