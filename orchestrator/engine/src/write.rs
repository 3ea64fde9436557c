//! The write of one saga.

use saga_core::{HistoryEntry, Instance};

/// The next row of one saga, and the transitions that led to it.
#[derive(Clone, Debug)]
pub struct Write {
    /// Version of the row that was decided on; 0 for a new saga.
    pub before: u64,
    /// The saga's next row.
    pub saga: Instance,
    /// The transitions, in order.
    pub history: Vec<HistoryEntry>,
}
