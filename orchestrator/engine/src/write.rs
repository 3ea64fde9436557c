//! One saga's write.

use saga_core::{HistoryEntry, Instance};

/// The next row and the new history of one saga.
#[derive(Clone, Debug)]
pub struct Write {
    /// Version of the row that was decided on; 0 for a new saga.
    pub before: u64,
    /// The next state.
    pub saga: Instance,
    /// The transitions that led there.
    pub history: Vec<HistoryEntry>,
}
