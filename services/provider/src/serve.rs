use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::RunError;
use crate::http::{self, App};
use crate::ledger::Ledger;
use crate::reader::Reader;
use crate::settings::Settings;
use crate::writer::{Writer, WriterThread};

/// How long the end waits for calls in flight; who only rests on purpose (a slow token, a delay) is cut short at once.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Runs the provider until `shutdown`: opens the ledger, serves the listener, finishes what is in flight, closes the ledger.
///
/// When it returns, the file is closed and another provider may open the directory. Dropping the future instead is a crash:
/// nothing that was answered is lost.
///
/// # Errors
/// [`RunError`] says what a person has to change; the provider does not try again by itself.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let (writer, thread, reader) = open(&settings).await?;
    let app = App::new(writer, reader.clone(), &settings, shutdown.clone());
    tracing::info!(data_dir = %settings.data_dir.display(), "the payment provider is ready");
    let served = serve(&app, listener, shutdown).await;
    reader.close();
    let closed = thread.close().await;
    served.and(closed)
}

async fn open(settings: &Settings) -> Result<(Writer, WriterThread, Reader), RunError> {
    let (data_dir, down_attempts) = (settings.data_dir.clone(), settings.down_attempts);
    let opening = tokio::task::spawn_blocking(move || {
        let ledger = Ledger::open(&data_dir, down_attempts)?;
        let reader = Reader::open(&data_dir)?;
        let (writer, thread) = Writer::start(ledger)?;
        Ok((writer, thread, reader))
    });
    opening.await.map_err(|_| RunError::Writer("could not be started"))?
}

/// Serves until the shutdown, and then until the last call is answered or time is up.
async fn serve(
    app: &Arc<App>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    // Answers are small and somebody waits for each: never hold one back for company.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
    });
    let serving = axum::serve(listener, http::router(Arc::clone(app)))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let mut serving = pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map_err(RunError::Listener),
        () = app.writer.ended() => return Err(RunError::Writer("died")),
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
