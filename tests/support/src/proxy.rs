//! A TCP proxy between one process and one of its servers, with faults that a test can switch on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, watch},
};

use crate::free_port;

/// The way in which a proxy passes bytes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All bytes pass at once.
    Open,
    /// Connections stay open, and no bytes pass.
    Blackhole,
    /// Each piece arrives about 200 ms late (100 to 300 ms).
    Delay,
    /// One kilobyte a second passes in each direction.
    Trickle,
    /// The server's bytes pass, and the client's are lost. The connection is of no use afterwards.
    Deaf,
}

const DELAY_MILLIS: u64 = 200;
const TRICKLE_BYTES: usize = 100;
const TRICKLE_PAUSE: Duration = Duration::from_millis(100);

/// Time in which a COMMIT reaches the server.
const COMMIT_ARRIVES: Duration = Duration::from_millis(20);

/// The possible faults for the next COMMIT.
const NOTHING: u8 = 0;
const DROP_COMMIT: u8 = 1;
const DROP_ITS_ANSWER: u8 = 2;

/// A proxy in front of one server.
pub struct Proxy {
    /// The port on which it listens.
    pub port: u16,
    mode: watch::Sender<Mode>,
    /// A counter. When it changes, every open connection is reset.
    resets: watch::Sender<u64>,
    /// A counter. When it changes, nothing more passes on any open connection.
    silences: watch::Sender<u64>,
    commit: Arc<AtomicU8>,
}

/// The settings of the proxy, as each of its connections receives them.
#[derive(Clone)]
struct Orders {
    mode: watch::Receiver<Mode>,
    resets: watch::Receiver<u64>,
    silences: watch::Receiver<u64>,
    commit: Arc<AtomicU8>,
}

impl Proxy {
    /// Starts a proxy in front of a server on this machine.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(server: u16) -> anyhow::Result<Self> {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let (mode, modes) = watch::channel(Mode::Open);
        let (resets, reset) = watch::channel(0);
        let (silences, silence) = watch::channel(0);
        let commit = Arc::new(AtomicU8::new(NOTHING));
        let orders =
            Orders { mode: modes, resets: reset, silences: silence, commit: Arc::clone(&commit) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let orders = orders.clone();
                tokio::spawn(async move { connection(client, server, orders).await });
            }
        });
        Ok(Self { port, mode, resets, silences, commit })
    }

    /// Changes the way in which the proxy passes bytes on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets every open connection.
    pub fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    /// Simulates the silent failure of the server's host: no more bytes pass on any open
    /// connection, but no connection is closed. New connections reach the server.
    pub fn go_silent(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }

    /// Resets the next connection that commits. If the COMMIT `arrives`, this happens after it has
    /// reached the server but before the answer reaches the client; otherwise before it reaches the
    /// server.
    pub fn reset_during_commit(&self, arrives: bool) {
        let what = if arrives { DROP_ITS_ANSWER } else { DROP_COMMIT };
        self.commit.store(what, Ordering::SeqCst);
    }

    /// Returns true if that reset has happened. Cancels it otherwise.
    pub fn commit_was_met(&self) -> bool {
        self.commit.swap(NOTHING, Ordering::SeqCst) == NOTHING
    }
}

/// Passes a connection's bytes on. At the end, resets both sides unless both have closed.
async fn connection(client: TcpStream, server: u16, mut orders: Orders) {
    // In blackhole mode, a new connection is accepted but gets no answer.
    let mut resets = orders.resets.clone();
    let seen = *resets.borrow_and_update();
    let opened = tokio::select! {
        server = async {
            let _ = orders.mode.wait_for(|mode| *mode != Mode::Blackhole).await;
            TcpStream::connect(("127.0.0.1", server)).await
        } => server,
        _ = resets.wait_for(|resets| *resets != seen) => return,
    };
    // If the server refuses the connection, the client's connection ends at once.
    let Ok(server) = opened else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        // With this option, dropping a connection resets it.
        let _ = stream.set_zero_linger();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut = Cut::default();
    let up = pump(from_client, to_server, orders.clone(), &cut, Way::Up);
    let down = pump(from_server, to_client, orders.clone(), &cut, Way::Down);
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        _ = resets.wait_for(|resets| *resets != seen) => {}
        () = cut.now.notified() => {}
    }
}

/// The state of a connection whose COMMIT must fail.
#[derive(Default)]
struct Cut {
    /// True if no more bytes may pass to the client, in particular no answer to its COMMIT.
    deaf: AtomicBool,
    now: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the client to the server. This direction carries the COMMITs.
    Up,
    Down,
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut orders: Orders,
    cut: &Cut,
    way: Way,
) {
    let mut piece = vec![0; 16 * 1024];
    let mut number: u64 = 0;
    let loud = *orders.silences.borrow();
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let mode = match orders.mode.wait_for(|mode| *mode != Mode::Blackhole).await {
            Ok(mode) => *mode,
            Err(_) => return,
        };
        if *orders.silences.borrow() != loud {
            return std::future::pending().await;
        }
        let piece = &piece[..length];
        if way == Way::Up && commits(piece) {
            let what = orders.commit.swap(NOTHING, Ordering::SeqCst);
            if what == DROP_ITS_ANSWER {
                cut.deaf.store(true, Ordering::SeqCst);
                let _ = to.write_all(piece).await;
                // The server must read the COMMIT before the reset arrives.
                tokio::time::sleep(COMMIT_ARRIVES).await;
            }
            if what != NOTHING {
                cut.now.notify_one();
                return std::future::pending().await;
            }
        }
        if way == Way::Down && cut.deaf.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        number += 1;
        let passed = match mode {
            Mode::Open | Mode::Blackhole => to.write_all(piece).await,
            Mode::Delay => {
                // The jitter is a fixed sequence of delays, without randomness.
                let millis = DELAY_MILLIS / 2 + number * 37 % DELAY_MILLIS;
                tokio::time::sleep(Duration::from_millis(millis)).await;
                to.write_all(piece).await
            }
            Mode::Trickle => trickle(&mut to, piece, &orders).await,
            Mode::Deaf if way == Way::Up => continue,
            Mode::Deaf => to.write_all(piece).await,
        };
        if passed.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn trickle(to: &mut OwnedWriteHalf, piece: &[u8], orders: &Orders) -> std::io::Result<()> {
    for little in piece.chunks(TRICKLE_BYTES) {
        if *orders.mode.borrow() == Mode::Trickle {
            tokio::time::sleep(TRICKLE_PAUSE).await;
        }
        to.write_all(little).await?;
    }
    Ok(())
}

/// Returns true if a piece contains a COMMIT, which sqlx sends as a simple query.
fn commits(piece: &[u8]) -> bool {
    piece.windows(6).any(|word| word == b"COMMIT")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a server that answers each piece with itself.
    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        port
    }

    async fn say(stream: &mut TcpStream, what: &str) -> std::io::Result<String> {
        stream.write_all(what.as_bytes()).await?;
        let mut heard = vec![0; what.len()];
        stream.read_exact(&mut heard).await?;
        Ok(String::from_utf8_lossy(&heard).into_owned())
    }

    #[tokio::test]
    async fn a_blackhole_says_nothing_and_loses_nothing() {
        let proxy = Proxy::start(echo().await).await.expect("started");
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
        assert_eq!(say(&mut stream, "one").await.expect("open"), "one");
        proxy.set(Mode::Blackhole);
        let waited =
            tokio::time::timeout(Duration::from_millis(200), say(&mut stream, "two")).await;
        assert!(waited.is_err(), "{waited:?}");
        proxy.set(Mode::Open);
        let mut heard = [0; 3];
        stream.read_exact(&mut heard).await.expect("what was held back");
        assert_eq!(&heard, b"two");
    }

    #[tokio::test]
    async fn silence_is_for_ever_and_for_what_was_open() {
        let proxy = Proxy::start(echo().await).await.expect("started");
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
        assert_eq!(say(&mut stream, "one").await.expect("open"), "one");
        proxy.go_silent();
        let waited =
            tokio::time::timeout(Duration::from_millis(200), say(&mut stream, "two")).await;
        assert!(waited.is_err(), "{waited:?}");
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
        assert_eq!(say(&mut stream, "three").await.expect("a new one"), "three");
    }

    #[tokio::test]
    async fn what_the_client_says_is_lost_and_what_the_server_says_arrives() {
        let proxy = Proxy::start(echo().await).await.expect("started");
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
        assert_eq!(say(&mut stream, "one").await.expect("open"), "one");
        proxy.set(Mode::Deaf);
        let waited =
            tokio::time::timeout(Duration::from_millis(200), say(&mut stream, "two")).await;
        assert!(waited.is_err(), "{waited:?}");
        proxy.set(Mode::Open);
        assert_eq!(say(&mut stream, "three").await.expect("open"), "three");
    }

    #[tokio::test]
    async fn a_reset_ends_what_is_open_and_nothing_later() {
        let proxy = Proxy::start(echo().await).await.expect("started");
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
        assert_eq!(say(&mut stream, "one").await.expect("open"), "one");
        proxy.reset();
        assert!(stream.read_u8().await.is_err());
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
        assert_eq!(say(&mut stream, "two").await.expect("open"), "two");
    }

    #[tokio::test]
    async fn one_commit_is_cut_off_and_the_next_is_not() {
        let proxy = Proxy::start(echo().await).await.expect("started");
        for arrives in [true, false] {
            proxy.reset_during_commit(arrives);
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
            assert_eq!(say(&mut stream, "SELECT").await.expect("no commit"), "SELECT");
            assert!(say(&mut stream, "COMMIT").await.is_err());
            assert!(proxy.commit_was_met());
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("open");
            assert_eq!(say(&mut stream, "COMMIT").await.expect("another"), "COMMIT");
        }
    }
}
