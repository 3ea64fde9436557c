//! What `GET` sees: only what is committed, by a connection of its own or, in memory, between two commits.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::RunError;
use crate::ledger::Ledger;
use crate::schema;

/// One read-only connection, shared: a read takes microseconds, and callers read only when an answer was lost.
#[derive(Clone)]
pub(crate) enum Reader {
    /// Of the file. Empty once the provider has stopped.
    File(Arc<Mutex<Option<Connection>>>),
    /// In memory there is nothing to wait for, and one connection for all.
    Here(Arc<Mutex<Ledger>>),
}

impl Reader {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, RunError> {
        let connection = schema::open_to_read(data_dir)?;
        Ok(Self::File(Arc::new(Mutex::new(Some(connection)))))
    }

    /// Reads away from the threads that serve sockets. `None` if the ledger is closed or cannot be read.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let reading = match self {
            Self::File(connection) => {
                let connection = Arc::clone(connection);
                let reading = tokio::task::spawn_blocking(move || {
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    connection.as_ref().map(read)
                });
                reading.await
            }
            Self::Here(ledger) => {
                let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Some(read(ledger.connection())))
            }
        };
        match reading {
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
        match self {
            Self::File(connection) => {
                drop(connection.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            Self::Here(_) => {}
        }
    }
}
