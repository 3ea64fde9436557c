//! Loopback ports that nobody else takes.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// Where ports are taken from. It lies below the range that Linux takes a *client's* port from
/// (32768 and up): otherwise a client that reconnects to a server that is down can be given the
/// server's own port, connect to itself, and keep the server from ever coming back.
const PORTS: Range<u16> = 20_000..32_000;

/// Tries before giving up; that many taken ports in a row means that something else is wrong.
const MOST_TRIES: usize = 1_000;

/// The locks of the ports that this process holds; the system lets go of them when it ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port on 127.0.0.1 that nobody listens on, and that no other call (of this process or another)
/// gets as long as this process lives. So a server can be stopped and started on the same port.
///
/// # Panics
/// When no port can be had, which means a broken machine.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir()
        .join(format!("saga-test-ports-{}", rustix::process::getuid().as_raw()));
    fs::create_dir_all(&folder).expect("the temporary folder can be written to");
    for _ in 0..MOST_TRIES {
        let port = PORTS.start + random_below(PORTS.end - PORTS.start);
        let lock = File::create(folder.join(port.to_string()))
            .expect("the folder with the locks of ports can be written to");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().expect("nobody panics while holding it").push(lock);
            return port;
        }
    }
    panic!("no free port between {} and {}", PORTS.start, PORTS.end);
}

fn random_below(bound: u16) -> u16 {
    let random = random() % u64::from(bound);
    u16::try_from(random).expect("it is below a u16")
}

/// A random number. Each `RandomState` has fresh keys, which is randomness enough for names and ports.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_port_is_given_twice() {
        let ports: BTreeSet<u16> = (0..100).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 100);
    }
}
