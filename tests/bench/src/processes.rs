//! The CPU and memory of this machine's processes, on Linux only.

// Tests compile `elsewhere` on Linux too: we have no other machine that would compile it.
#[cfg(any(not(target_os = "linux"), test))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

use std::collections::BTreeMap;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{NOT_MEASURED, Watched, costs};
#[cfg(target_os = "linux")]
pub(super) use linux::{NOT_MEASURED, Watched, costs};

/// The costs of processes up to one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    /// Seconds of CPU since each process began.
    pub(super) cpu: BTreeMap<String, f64>,
    /// Bytes of memory: for a single process its peak (VmHWM), for several their current sum.
    pub(super) memory: BTreeMap<String, u64>,
}
