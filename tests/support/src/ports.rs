//! Loopback ports that are reserved for one process.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// The ports that can be reserved. They lie below Linux's range for *client* ports (32768 and up).
/// In that range, a client that reconnects to a stopped server could be assigned the server's own
/// port, connect to itself, and keep the server from starting.
const PORTS: Range<u16> = 20_000..32_000;

/// Number of attempts. If this many random ports are taken in a row, something else is wrong.
const MOST_TRIES: usize = 1_000;

/// The locked files of the ports that this process holds. The system unlocks them when it ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Reserves an unused port on 127.0.0.1. While this process lives, no other call of this function
/// returns the port, in this process or another. So a server can restart on the same port.
///
/// # Panics
/// If no port is free, which means that the machine is broken.
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

/// Returns a random number. Each `RandomState` has new keys, which is random enough for names and
/// ports.
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
