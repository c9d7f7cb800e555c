//! The command that shows rows, masked.

use clap::Args;

#[derive(Args, Debug)]
pub(in crate::cli) struct Preview {
    /// A plan's id, or its first 8 or more characters
    pub plan: String,
    /// An object of the plan: KEY or DATASET:KEY, as the report writes it
    pub object: String,
    /// Who looks; it is noted
    #[arg(long, value_name = "WHO")]
    pub by: String,
    /// How many rows at most
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u8).range(1..=20))]
    pub rows: u8,
}
