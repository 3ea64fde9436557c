//! Child processes that run this same program: the bench measures them, the demo kills them.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use tokio::process::Child;

/// Ports below the range from which a client's own ports are taken.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Time limit for a process to end by itself. After that it is killed, which loses nothing either.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// An address on loopback that nobody listens on. If another process takes it first, the role
/// reports that and ends.
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

/// Tells a process to end, waits until it has, and kills it if it takes too long.
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

/// Other systems have no way for one process to ask another to end: it is killed, which loses
/// nothing.
#[cfg(not(unix))]
fn ask_to_end(child: &mut Child) -> std::io::Result<()> {
    if child.id().is_some() { child.start_kill() } else { Ok(()) }
}
