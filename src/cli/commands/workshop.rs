//! What erasing, verifying, certifying and vacuuming work with: every configured dataset with its
//! lake, the index and the ledger.

use std::time::Duration;

use crate::cli::failure::Failure;
use crate::config::Config;
use crate::erase::tools::EraseTools;
use crate::vacuum::VacuumTools;
use crate::wire;

use super::Context;

/// How many objects are dealt with at once.
pub(super) const OBJECTS_AT_ONCE: usize = 8;

/// The pause before a second try when a store fails for the moment.
const PAUSE: Duration = Duration::from_millis(500);

/// Opens everything that an erasure needs.
///
/// # Errors
///
/// When a store cannot be opened, or the index belongs to another key.
pub(super) async fn erase_tools(context: &Context, config: &Config) -> Result<EraseTools, Failure> {
    Ok(EraseTools {
        datasets: wire::estates(config, &config.datasets).await?.into(),
        metastore: context.metastore(config).await?,
        ledger: wire::ledger(config, context.clock.clone()).await?,
        key: context.key(config)?,
        clock: context.clock.clone(),
        observer: context.observer(),
        holder: wire::holder(),
        terms: wire::lease_terms(),
        pause: PAUSE,
    })
}

/// The same for a vacuum.
///
/// # Errors
///
/// As [`erase_tools`].
pub(super) async fn vacuum_tools(
    context: &Context,
    config: &Config,
) -> Result<VacuumTools, Failure> {
    let tools = erase_tools(context, config).await?;
    Ok(VacuumTools {
        datasets: tools.datasets,
        metastore: tools.metastore,
        ledger: tools.ledger,
        key: tools.key,
        clock: tools.clock,
        observer: tools.observer,
        holder: tools.holder,
        terms: tools.terms,
        stop: context.stop.clone(),
        concurrency: OBJECTS_AT_ONCE,
    })
}
