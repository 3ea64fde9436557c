//! A proxy in front of a PostgreSQL server that plants bugs: it replaces fragments of the SQL.
//!
//! A test proves something only if it fails with a bug, and production code contains no switches
//! for bugs. So this proxy changes statements on their way to the server: in the `Parse` and
//! `Query` messages, which contain SQL as text. Each message states its length, so its text can be
//! replaced.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::AbortHandle,
};

use crate::servers::Parts;

/// A bug: a fragment of the real SQL and its replacement. A run of white space equals one blank, in
/// the fragment and in the SQL.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// The fragment of the real statement. It must occur exactly once.
    pub real: &'static str,
    /// The text that the server gets instead.
    pub planted: &'static str,
}

/// A proxy that changes some statements. When it is dropped, its connections end.
#[derive(Debug)]
pub struct SqlProxy {
    url: String,
    planted: Arc<Planted>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Planted {
    plants: Vec<Plant>,
    /// The number of statements that each plant has changed.
    times: Vec<AtomicU64>,
}

/// Longest frame that is accepted. Ours are far shorter.
const LONGEST_FRAME: usize = 64 << 20;
/// The code of protocol 3.0 in the startup message. Every later message begins with its type.
const STARTUP: u32 = 196_608;

impl SqlProxy {
    /// Starts a proxy in front of the server in this URL.
    ///
    /// # Errors
    /// If the URL contains no host and port, or no port is free to listen on.
    pub async fn before(url: &str, plants: &[Plant]) -> anyhow::Result<Self> {
        let parts = Parts::of(url);
        anyhow::ensure!(parts.port().is_some(), "the URL has no port");
        let server = parts.address.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = url.replacen(&server, &listener.local_addr()?.to_string(), 1);
        let times = plants.iter().map(|_| AtomicU64::new(0)).collect();
        let planted = Arc::new(Planted { plants: plants.to_vec(), times });
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&planted)));
        Ok(Self { url, planted, accepting: accepting.abort_handle() })
    }

    /// Returns the URL of the server, with the address of the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns true if every plant has changed a statement, so that it can have had an effect.
    pub fn has_planted_all(&self) -> bool {
        self.planted.times.iter().all(|times| times.load(Ordering::Relaxed) > 0)
    }
}

impl Drop for SqlProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: String, planted: Arc<Planted>) {
    // The connections end with this task, and this task ends with the proxy.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, planted) = (server.clone(), Arc::clone(&planted));
        connections.spawn(async move {
            // The connection ends when either side ends. The reason does not matter.
            let _ = connect(client, &server, &planted).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(client: TcpStream, server: &str, planted: &Planted) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        ended = requests(from_client, to_server, planted) => ended,
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(drop),
    }
}

/// Passes the client's messages on, with the plants applied to their SQL.
async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    planted: &Planted,
) -> io::Result<()> {
    // Before the startup message a client may send other requests, for example for encryption.
    loop {
        let body = body(&mut client).await?;
        server.write_all(&frame(None, &body)).await?;
        if body.first_chunk().is_some_and(|code| u32::from_be_bytes(*code) == STARTUP) {
            break;
        }
    }
    loop {
        let kind = client.read_u8().await?;
        let body = body(&mut client).await?;
        let body = match kind {
            // The body contains the statement's name, the SQL, and the types of the parameters.
            b'P' => planted.after(&body, text_end(&body, 0)),
            b'Q' => planted.after(&body, Some(0)),
            _ => body,
        };
        server.write_all(&frame(Some(kind), &body)).await?;
    }
}

async fn body(client: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    // The length includes its own four bytes.
    let length = client.read_u32().await? as usize;
    if !(4..=LONGEST_FRAME).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length - 4];
    client.read_exact(&mut body).await?;
    Ok(body)
}

fn frame(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    kind.into_iter().chain(length.to_be_bytes()).chain(body.iter().copied()).collect()
}

/// Returns the index after the NUL that ends the text at `begin`.
fn text_end(body: &[u8], begin: usize) -> Option<usize> {
    let length = body.get(begin..)?.iter().position(|byte| *byte == 0)?;
    Some(begin + length + 1)
}

impl Planted {
    /// Applies the plants to the SQL that begins at `begin`, and returns the new body.
    fn after(&self, body: &[u8], begin: Option<usize>) -> Vec<u8> {
        let altered = || {
            let begin = begin?;
            let end = text_end(body, begin)? - 1;
            let sql = std::str::from_utf8(&body[begin..end]).ok()?;
            let altered = self.alter(sql)?;
            Some([&body[..begin], altered.as_bytes(), &body[end..]].concat())
        };
        altered().unwrap_or_else(|| body.to_vec())
    }

    /// Applies all plants that match a statement. Returns `None` if none does.
    fn alter(&self, sql: &str) -> Option<String> {
        let mut altered = plain(sql);
        let mut any = false;
        for (plant, times) in self.plants.iter().zip(&self.times) {
            let real = plain(plant.real);
            if altered.contains(&real) {
                altered = altered.replacen(&real, plant.planted, 1);
                times.fetch_add(1, Ordering::Relaxed);
                any = true;
            }
        }
        any.then_some(altered)
    }
}

fn plain(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(plants: &[Plant]) -> Planted {
        let times = plants.iter().map(|_| AtomicU64::new(0)).collect();
        Planted { plants: plants.to_vec(), times }
    }

    #[test]
    fn only_the_sql_of_a_message_is_altered() {
        let plants = [Plant { real: "a FOR UPDATE", planted: "a" }];
        let body = b"a FOR UPDATE\0SELECT a\n  FOR UPDATE\0\0\x01FOR UPDATE";
        let planted = planted(&plants);
        let altered = planted.after(body, text_end(body, 0));
        assert_eq!(altered, b"a FOR UPDATE\0SELECT a\0\0\x01FOR UPDATE");
        assert_eq!(planted.times[0].load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_fits_nothing_stays_as_it_is() {
        let plants = [Plant { real: "FOR UPDATE", planted: "" }];
        let body = b"\0SELECT\n  a\0\0\0";
        assert_eq!(planted(&plants).after(body, text_end(body, 0)), body);
    }
}
