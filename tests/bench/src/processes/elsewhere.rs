//! Systems without /proc: CPU and memory are not measured, and the report says so.

use super::Costs;

/// The sentence in the report.
pub(crate) const NOT_MEASURED: Option<&str> = Some(
    "CPU and memory of processes are not measured on this system: the bench reads them from /proc, which Linux has.",
);

/// Stands for a process that Linux could watch.
#[derive(Clone, Debug)]
pub(crate) struct Watched;

impl Watched {
    pub(crate) fn one(_name: &str, _pid: u32) -> Self {
        Self
    }

    pub(crate) fn listener(_name: &str, _port: u16) -> Option<Self> {
        None
    }
}

/// Returns no costs at all, instead of zeros, because they are unknown.
pub(crate) fn costs(_watched: &[Watched]) -> Costs {
    Costs::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_measured_has_no_figure_and_the_report_says_why() {
        let found = costs(&[Watched::one("me", std::process::id())]);
        assert!(found.cpu.is_empty() && found.memory.is_empty(), "{found:?}");
        assert!(Watched::listener("me", 1).is_none());
        assert!(NOT_MEASURED.is_some_and(|why| why.contains("not measured on this system")));
    }
}
