//! `saga provider`: the test payment provider, a third party with its own ledger.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Provider;

/// Runs the provider until shutdown.
pub(super) async fn run(
    settings: Provider,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let settings = saga_provider::Settings {
        slow_after: settings.slow_after,
        very_slow_after: settings.very_slow_after,
        ..saga_provider::Settings::new(settings.data_dir)
    };
    Ok(saga_provider::run(settings, listener, shutdown).await?)
}

/// Runs `saga provider`.
pub(crate) async fn provider(
    settings: Provider,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = super::listen(settings.listen, "provider").await?;
    run(settings, listener, shutdown).await
}
