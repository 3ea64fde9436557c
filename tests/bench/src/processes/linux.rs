//! Reads CPU and memory from Linux's /proc.

use procfs::{
    ProcResult,
    net::{TcpState, tcp, tcp6},
    process::{FDTarget, Process, Stat, all_processes},
};

use super::Costs;

/// Everything is measured here.
pub(crate) const NOT_MEASURED: Option<&str> = None;

const KIB: u64 = 1024;

/// A watched process.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    name: String,
    pid: i32,
    /// Whether its children count too: a database server's do.
    with_children: bool,
}

impl Watched {
    pub(crate) fn one(name: &str, pid: u32) -> Self {
        Self { name: name.to_owned(), pid: pid.cast_signed(), with_children: false }
    }

    pub(crate) fn with_children(name: &str, pid: u32) -> Self {
        Self { with_children: true, ..Self::one(name, pid) }
    }

    /// Watches the process that listens on a port of this machine, if we may see it.
    pub(crate) fn listener(name: &str, port: u16) -> Option<Self> {
        listener(port).ok().flatten().map(|pid| Self::with_children(name, pid))
    }
}

/// Reads the costs of all watched processes. One that has ended adds nothing.
pub(crate) fn costs(watched: &[Watched]) -> Costs {
    let stats: Vec<Stat> =
        all_processes().into_iter().flatten().filter_map(|p| p.ok()?.stat().ok()).collect();
    let mut costs = Costs::default();
    for Watched { name, pid, with_children } in watched {
        let family = if *with_children { family(*pid, &stats) } else { vec![*pid] };
        let ticks: u64 = stats
            .iter()
            .filter(|stat| family.contains(&stat.pid))
            .map(|stat| ticks(stat, *with_children))
            .sum();
        let cpu = ticks as f64 / procfs::ticks_per_second() as f64;
        *costs.cpu.entry(name.clone()).or_default() += cpu;
        *costs.memory.entry(name.clone()).or_default() += memory(&family);
    }
    costs
}

/// Returns a process's CPU time, with `with_dead_children` including that of its dead children.
fn ticks(stat: &Stat, with_dead_children: bool) -> u64 {
    let dead = if with_dead_children { stat.cutime + stat.cstime } else { 0 };
    stat.utime + stat.stime + dead.max(0).cast_unsigned()
}

/// Returns the ids of a process, its children, and all their descendants.
fn family(pid: i32, stats: &[Stat]) -> Vec<i32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(stats.iter().filter(|s| s.ppid == parent && s.pid != parent).map(|s| s.pid));
        next += 1;
    }
    family
}

fn memory(family: &[i32]) -> u64 {
    let statuses: Vec<_> =
        family.iter().filter_map(|pid| Process::new(*pid).ok()?.status().ok()).collect();
    let kib = match statuses.as_slice() {
        [alone] => alone.vmhwm.unwrap_or_default(),
        // Shared memory counts only once.
        many => {
            let shared = many.iter().filter_map(|s| s.rssshmem).max().unwrap_or_default();
            many.iter().filter_map(|s| s.rssanon).sum::<u64>() + shared
        }
    };
    kib * KIB
}

fn listener(port: u16) -> ProcResult<Option<u32>> {
    let listening = tcp()?.into_iter().chain(tcp6().unwrap_or_default());
    let sockets: Vec<u64> = listening
        .filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port)
        .map(|entry| entry.inode)
        .collect();
    let holds = |process: &Process| {
        process
            .fd()
            .into_iter()
            .flatten()
            .flatten()
            .any(|fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
    };
    // Children inherit the socket, and the parent is the oldest process.
    let oldest = all_processes()?
        .filter_map(Result::ok)
        .filter(holds)
        .filter_map(|process| process.stat().ok())
        .min_by_key(|stat| stat.starttime);
    Ok(oldest.map(|stat| stat.pid.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found_and_what_it_uses_is_counted() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        let me = Watched::listener("me", port).expect("this process listens");
        assert_eq!(me.pid.cast_unsigned(), std::process::id());
        let before = costs(std::slice::from_ref(&me));
        let began = std::time::Instant::now();
        let mut sum = 0_u64;
        while began.elapsed() < std::time::Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = costs(&[me]);
        assert!(after.cpu["me"] > before.cpu["me"], "{before:?} {after:?}");
        assert!(after.memory["me"] > KIB * KIB, "{after:?}");
        assert!(Watched::listener("nobody", 1).is_none());
    }
}
