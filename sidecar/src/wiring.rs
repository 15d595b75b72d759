//! Ties every room together. Placeholder until the runtime's own file replaces it.

use crate::config::Config;

/// Runs a member until it is told to stop.
///
/// # Errors
/// Always, here.
pub async fn run(config: Config) -> anyhow::Result<()> {
    anyhow::bail!("{}: the runtime is not part of this build", config.name)
}
