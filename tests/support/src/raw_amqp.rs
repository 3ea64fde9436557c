//! A foreign client that writes AMQP frames by hand. No client library lets a test send what a
//! hostile or broken client can send: text that is not UTF-8, header tables of any size and depth,
//! or a property that ends too early.
//!
//! Like most functions of this crate, these block.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use lapin::uri::AMQPUri;

/// Time limit for the broker's answer. If it is silent for longer, it has given the connection up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The only channel of the connection.
const CHANNEL: u16 = 1;
/// The last byte of each frame.
const FRAME_END: u8 = 0xce;
/// Bytes of a frame before and after its payload.
const FRAME_OVERHEAD: usize = 8;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// Class and number of the methods that are sent or awaited here.
const START: [u8; 4] = [0, 10, 0, 10];
const START_OK: [u8; 4] = [0, 10, 0, 11];
const TUNE: [u8; 4] = [0, 10, 0, 30];
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];
const OPEN: [u8; 4] = [0, 10, 0, 40];
const OPEN_OK: [u8; 4] = [0, 10, 0, 41];
const CHANNEL_OPEN: [u8; 4] = [0, 20, 0, 10];
const CHANNEL_OPEN_OK: [u8; 4] = [0, 20, 0, 11];
const PUBLISH: [u8; 4] = [0, 60, 0, 40];
const ACK: [u8; 4] = [0, 60, 0, 80];
const SELECT: [u8; 4] = [0, 85, 0, 10];
const SELECT_OK: [u8; 4] = [0, 85, 0, 11];

/// The flags of the properties that tests set, as in the content header. The values follow the
/// flags, in the order from the highest bit.
pub mod flag {
    /// The content type, a short text.
    pub const CONTENT_TYPE: u16 = 1 << 15;
    /// The headers, a table.
    pub const HEADERS: u16 = 1 << 13;
    /// The correlation id, a short text.
    pub const CORRELATION_ID: u16 = 1 << 10;
    /// The address for the reply, a short text.
    pub const REPLY_TO: u16 = 1 << 9;
    /// The message id, a short text.
    pub const MESSAGE_ID: u16 = 1 << 7;
}

/// A message as the bytes that are sent.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub key: Vec<u8>,
    /// The flags of the properties that the message has.
    pub flags: u16,
    /// The values of the properties, one after the other.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Wire {
    /// Adds a property. The caller must add properties in the order of their flags.
    #[must_use]
    pub fn with(mut self, flag: u16, value: &[u8]) -> Self {
        self.flags |= flag;
        self.properties.extend_from_slice(value);
        self
    }
}

/// Encodes a short text: at most 255 bytes.
///
/// # Panics
/// If the text is longer.
#[must_use]
pub fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    [&[length], text].concat()
}

/// Encodes a long text as the value of a table's entry.
#[must_use]
pub fn long(text: &[u8]) -> Vec<u8> {
    sized(b'S', text)
}

/// Encodes a table as the value of a table's entry.
#[must_use]
pub fn inner(table: &[u8]) -> Vec<u8> {
    [b"F", table].concat()
}

/// Encodes a table with these entries.
#[must_use]
pub fn table(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> =
        entries.iter().flat_map(|(name, value)| [short(name), value.clone()].concat()).collect();
    [&length(&entries)[..], &entries].concat()
}

/// Encodes a value of nested arrays, with `depth` levels.
#[must_use]
pub fn nested(depth: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(depth * 5);
    for left in (0..depth).rev() {
        value.push(b'A');
        value.extend_from_slice(&u32::try_from(left * 5).expect("it fits").to_be_bytes());
    }
    value
}

fn sized(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], &length(bytes)[..], bytes].concat()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("it fits").to_be_bytes()
}

/// Publishes messages over a new connection, and waits until the broker has confirmed each.
///
/// # Errors
/// If the broker refuses one. The error contains the broker's reason.
pub fn publish(url: &str, messages: &[Wire]) -> anyhow::Result<()> {
    let mut raw = Raw::open(url)?;
    for message in messages {
        raw.publish(message)?;
    }
    Ok(())
}

/// A connection with one open channel that uses confirms.
struct Raw {
    stream: TcpStream,
    frame_max: usize,
}

impl Raw {
    fn open(url: &str) -> anyhow::Result<Self> {
        let url: AMQPUri = url.parse().map_err(anyhow::Error::msg)?;
        let stream = TcpStream::connect((url.authority.host.as_str(), url.authority.port))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let mut raw = Self { stream, frame_max: 0 };
        raw.stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        raw.await_method(START)?;
        let login = &url.authority.userinfo;
        let login = format!("\0{}\0{}", login.username, login.password);
        let no_properties = table(&[]);
        let response = [&length(login.as_bytes()), login.as_bytes()].concat();
        raw.method(0, START_OK, &[no_properties, short(b"PLAIN"), response, short(b"en_US")])?;
        let tune = raw.await_method(TUNE)?;
        let (most, heartbeat) = (tune.get(..6).context("a short tune")?, [0, 0]);
        raw.frame_max = u32::from_be_bytes(most[2..6].try_into()?).try_into()?;
        raw.method(0, TUNE_OK, &[most.to_vec(), heartbeat.to_vec()])?;
        raw.method(0, OPEN, &[short(url.vhost.as_bytes()), short(b""), vec![0]])?;
        raw.await_method(OPEN_OK)?;
        raw.method(CHANNEL, CHANNEL_OPEN, &[short(b"")])?;
        raw.await_method(CHANNEL_OPEN_OK)?;
        raw.method(CHANNEL, SELECT, &[vec![0]])?;
        raw.await_method(SELECT_OK)?;
        Ok(raw)
    }

    fn publish(&mut self, message: &Wire) -> anyhow::Result<()> {
        let Wire { exchange, key, flags, properties, body } = message;
        let to = [vec![0, 0], short(exchange.as_bytes()), short(key), vec![0]];
        self.method(CHANNEL, PUBLISH, &to)?;
        let size = u64::try_from(body.len())?.to_be_bytes();
        let header = [&[0, 60, 0, 0], &size[..], &flags.to_be_bytes(), properties].concat();
        ensure!(header.len() + FRAME_OVERHEAD <= self.frame_max, "no publisher may send this");
        self.frame(HEADER, CHANNEL, &header)?;
        for piece in body.chunks(self.frame_max - FRAME_OVERHEAD) {
            self.frame(BODY, CHANNEL, piece)?;
        }
        self.await_method(ACK).map(drop)
    }

    fn method(&mut self, channel: u16, id: [u8; 4], arguments: &[Vec<u8>]) -> anyhow::Result<()> {
        self.frame(METHOD, channel, &[&id[..], &arguments.concat()].concat())
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> anyhow::Result<()> {
        let channel = channel.to_be_bytes();
        let frame = [&[kind], &channel[..], &length(payload), payload, &[FRAME_END]].concat();
        Ok(self.stream.write_all(&frame)?)
    }

    /// Reads frames until this method arrives, and returns its arguments.
    fn await_method(&mut self, id: [u8; 4]) -> anyhow::Result<Vec<u8>> {
        loop {
            let mut start = [0; 7];
            self.stream.read_exact(&mut start).context("the broker ended the connection")?;
            let [kind, _, _, size @ ..] = start;
            let mut payload = vec![0; usize::try_from(u32::from_be_bytes(size))? + 1];
            self.stream.read_exact(&mut payload)?;
            ensure!(payload.pop() == Some(FRAME_END), "a frame without its end");
            match payload.split_first_chunk() {
                Some((found, arguments)) if kind == METHOD && *found == id => {
                    return Ok(arguments.to_vec());
                }
                _ if kind == HEARTBEAT => {}
                _ => bail!("instead of {id:?} came {:?}", String::from_utf8_lossy(&payload)),
            }
        }
    }
}
