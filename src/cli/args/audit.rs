//! The commands of the evidence.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::domain::signature::PublicKey;
use crate::domain::trail::TrailHead;

#[derive(Args, Debug)]
pub(in crate::cli) struct Audit {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// Walks the trail, reads every document that it names, and tells what is not as it was stored
    ///
    /// It changes nothing. The end of the trail is printed: kept where the ledger is not, and given as
    /// --anchor later, it shows that nothing was cut off.
    #[command(after_help = "Examples:\n  lacuna audit verify\n  lacuna audit verify --json")]
    Verify(AuditVerify),
    /// Packs the evidence of a plan into one zip archive, to be verified where the ledger is not
    #[command(after_help = "Examples:\n  lacuna audit export 5f0c1d2e\n  \
                      lacuna audit export 5f0c1d2e --out DSR-17.zip")]
    Export(AuditExport),
    /// Prints the public key that certificates are signed by
    #[command(after_help = "Examples:\n  lacuna audit key\n  \
                      lacuna audit key --create .lacuna/signing.key")]
    Key(AuditKey),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct AuditVerify {
    /// An end of the trail that an earlier verification printed
    #[arg(long, value_name = "SEQUENCE:DIGEST")]
    pub anchor: Option<TrailHead>,
    /// The public key that certificates have to be signed by [default: that of the configuration]
    #[arg(long, value_name = "KEY")]
    pub key: Option<PublicKey>,
    /// Verifies an evidence pack instead of the ledger; needs no configuration
    #[arg(long, value_name = "FILE")]
    pub pack: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct AuditExport {
    /// A plan's id, or its first 8 or more characters
    pub plan: String,
    /// The archive to write; must not exist yet [default: evidence-PLAN.zip]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct AuditKey {
    /// Makes a new key and writes it into this file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub create: Option<PathBuf>,
}
