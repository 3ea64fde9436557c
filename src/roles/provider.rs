//! `saga provider`: the test payment provider, a stranger with its own ledger.

use tokio_util::sync::CancellationToken;

use super::listen;
use crate::config::Provider;

/// `saga provider`
pub(crate) async fn provider(
    settings: Provider,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listen(settings.listen, "provider").await?;
    let settings = saga_provider::Settings {
        slow_after: settings.slow_after,
        very_slow_after: settings.very_slow_after,
        ..saga_provider::Settings::new(settings.data_dir)
    };
    Ok(saga_provider::run(settings, listener, shutdown).await?)
}
