//! What each metric means, in one place: Prometheus shows it as its help.

/// Tells the exporter.
pub(crate) fn describe() {}
