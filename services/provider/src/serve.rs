use std::{future::IntoFuture, pin::pin, sync::Arc, time::Duration};

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    access::Keeper,
    error::RunError,
    http::{self, App},
    ledger::Ledger,
    settings::Settings,
};

/// How long stopping waits for calls in progress. Calls that only wait on purpose (a slow token, a
/// delay) are ended at once.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Runs the provider until `shutdown`: opens the ledger, serves the listener, finishes the calls in
/// progress, closes the ledger.
///
/// After it has returned, the file is closed and another provider may open the directory. Dropping
/// the future instead is like a crash: all that was answered is kept.
///
/// # Errors
/// [`RunError`] describes what a person has to change. The provider does not retry by itself.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let ledger = Ledger::open(&settings.data_dir, settings.down_attempts)?;
    let (mut keeper, access) = Keeper::start(ledger);
    let app = App::new(access, &settings, shutdown.clone());
    tracing::info!(data_dir = %settings.data_dir.display(), "the payment provider is ready");
    let served = tokio::select! {
        served = serve(app, listener, shutdown) => served,
        () = keeper.died() => return Err(RunError::Writer("died")),
    };
    let closed = keeper.close().await;
    served.and(closed)
}

/// Serves until the shutdown, and then until all calls are answered or the time limit is reached.
async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    // Answers are small, and callers wait for them: send each at once, without waiting for more.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
    });
    let serving = axum::serve(listener, http::router(app))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let mut serving = pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map_err(RunError::Listener),
        () = shutdown.cancelled() => {}
    }
    match tokio::time::timeout(DRAIN_WITHIN, serving).await {
        Ok(served) => served.map_err(RunError::Listener),
        Err(_) => {
            tracing::warn!(
                "calls were still in flight at the end; their callers have to ask again"
            );
            Ok(())
        }
    }
}
