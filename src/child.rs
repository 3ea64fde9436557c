//! Child processes that run this same program: the benchmark measures them, the demo kills them.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use tokio::process::Child;

/// Ports for servers. They are below the range from which the system takes ports for clients.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Time limit for a process to end by itself. After that it is killed, and no data is lost.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Returns a loopback address on which nobody listens. If another process takes it before the role
/// does, the role reports that and ends.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let span = u64::from(PORTS.end - PORTS.start);
    for _ in 0..1_000 {
        let dice = uuid::Uuid::new_v4().as_u64_pair().1 % span;
        let port = PORTS.start + u16::try_from(dice).expect("it is below the span");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no free port from {} to {}", PORTS.start, PORTS.end)
}

/// Asks a process to end, waits for its end, and kills it if that takes too long.
pub async fn stop(child: &mut Child) -> std::io::Result<()> {
    ask_to_end(child)?;
    if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

#[cfg(unix)]
fn ask_to_end(child: &mut Child) -> std::io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};

    match child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        Some(pid) => Ok(kill_process(pid, Signal::TERM)?),
        None => Ok(()),
    }
}

/// Kills the process: outside Unix, one process has no way to ask another one to end. No data is
/// lost.
#[cfg(not(unix))]
fn ask_to_end(child: &mut Child) -> std::io::Result<()> {
    if child.id().is_some() { child.start_kill() } else { Ok(()) }
}
