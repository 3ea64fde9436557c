//! What `GET` sees: a connection of its own, so only what is committed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::RunError;
use crate::schema;

/// One read-only connection, shared: a read takes microseconds, and callers read only when an answer was lost.
#[derive(Clone)]
pub(crate) struct Reader {
    /// Empty once the provider has stopped.
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Reader {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, RunError> {
        let connection = schema::open_to_read(data_dir)?;
        Ok(Self { connection: Arc::new(Mutex::new(Some(connection))) })
    }

    /// Reads away from the threads that serve sockets. `None` if the ledger is closed or cannot be read.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let connection = Arc::clone(&self.connection);
        let reading = tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.as_ref().map(read)
        });
        match reading.await {
            Ok(Some(Ok(found))) => Some(found),
            Ok(Some(Err(error))) => {
                tracing::error!(%error, "the ledger could not be read");
                None
            }
            Ok(None) | Err(_) => None,
        }
    }

    /// Closes the connection, whoever else still holds this reader.
    pub(crate) fn close(&self) {
        drop(self.connection.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
