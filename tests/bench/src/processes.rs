//! What processes cost: CPU and memory, of this machine's processes only, on Linux only.

// In tests the other one is compiled too: here is no machine on which it is the only one.
#[cfg(any(not(target_os = "linux"), test))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

use std::collections::BTreeMap;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{NOT_MEASURED, Watched, costs};
#[cfg(target_os = "linux")]
pub(super) use linux::{NOT_MEASURED, Watched, costs};

/// What all of them had used at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    /// Seconds of CPU since each began.
    pub(super) cpu: BTreeMap<String, f64>,
    /// Bytes of memory: the peak of a single process (VmHWM), what is there now of several.
    pub(super) memory: BTreeMap<String, u64>,
}
