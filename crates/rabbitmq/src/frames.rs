//! Filters the frames that come from the broker before lapin reads them.
//!
//! Most frames pass unchanged. A content header that lapin could not read is mended (see
//! [`crate::properties`]), and so is the routing key of a delivery. A body larger than
//! [`limits::MAX_BODY_BYTES`] is cut while it passes, so that no message takes more memory than
//! that: its beginning is kept, and a note with its size and hash replaces the rest.

use std::collections::HashMap;

use saga_messaging::limits;
use sha2::{Digest as _, Sha256};

use crate::properties::{self, Reader, legible};

/// Bytes of a frame before its payload: kind, channel and size of the payload.
const START_BYTES: usize = 7;
/// The last byte of each frame.
const END: u8 = 0xce;
/// Maximum number of bytes of a frame that are held back for inspection. The broker's own limit is
/// smaller. A longer content header loses the bytes beyond this limit; a longer method passes
/// unchanged.
const MAX_HELD: usize = 1024 * 1024;
/// Bytes that are kept of a body that is too large.
const KEPT_BODY_BYTES: usize = 1024 * 1024;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Class and number of the method with which the broker states the largest size of a frame.
const TUNE: [u8; 4] = [0, 10, 0, 30];
/// Class and number of the methods that contain a routing key, which any sender can choose.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
const GET_OK: [u8; 4] = [0, 60, 0, 71];

/// The position in a connection's stream of bytes, and the bytes that are held back.
#[derive(Debug)]
pub(crate) struct Frames {
    /// The largest frame that lapin accepts: the size that lapin asked for, or the size that the
    /// broker allows.
    frame_max: usize,
    /// The bytes of the present frame that are held back.
    held: Vec<u8>,
    state: State,
    /// The bodies that are being cut, by channel.
    cuts: HashMap<[u8; 2], Body>,
}

#[derive(Debug)]
enum State {
    /// Waiting for the rest of a frame's first bytes.
    Start,
    /// Holding the present frame back.
    Held { left: usize },
    /// Passing the present frame on.
    Passing { left: usize },
    /// Cutting a body: the present frame is part of it. `left` includes the frame's last byte.
    Cutting { channel: [u8; 2], left: usize },
}

/// A body that is being cut.
#[derive(Debug)]
struct Body {
    size: u64,
    /// Bytes of the body that have not arrived yet.
    left: u64,
    /// How many more bytes of the body are kept.
    keep: usize,
    hash: Sha256,
}

impl Frames {
    /// Creates the filter for a new connection.
    pub(crate) fn new(frame_max: usize) -> Self {
        Self { frame_max, held: Vec::new(), state: State::Start, cuts: HashMap::new() }
    }

    /// Reads the next bytes from the broker, and appends the bytes for lapin to `out`.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let wanted = match &self.state {
                State::Start => START_BYTES - self.held.len(),
                State::Held { left } | State::Passing { left } | State::Cutting { left, .. } => {
                    *left
                }
            };
            let (some, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            self.take(some, out);
        }
    }

    /// Reads bytes that belong to the present state. `some` never reaches beyond that state.
    fn take(&mut self, some: &[u8], out: &mut Vec<u8>) {
        match &mut self.state {
            State::Start => {
                self.held.extend_from_slice(some);
                if let Some(start) = self.held.first_chunk().copied()
                    && self.held.len() == START_BYTES
                {
                    self.begin(start, out);
                }
            }
            State::Held { left } => {
                *left -= some.len();
                let ended = *left == 0;
                let room = MAX_HELD.saturating_sub(self.held.len()).min(some.len());
                self.held.extend_from_slice(&some[..room]);
                if ended {
                    self.look(out);
                    self.begin_anew();
                }
            }
            State::Passing { left } => {
                *left -= some.len();
                out.extend_from_slice(some);
                if *left == 0 {
                    self.begin_anew();
                }
            }
            State::Cutting { channel, left } => {
                let channel = *channel;
                let payload = &some[..some.len().min(*left - 1)];
                *left -= some.len();
                let ended = *left == 0;
                self.cut(channel, payload, ended, out);
                if ended {
                    self.begin_anew();
                }
            }
        }
    }

    fn begin_anew(&mut self) {
        self.held.clear();
        self.state = State::Start;
    }

    fn begin(&mut self, start: [u8; START_BYTES], out: &mut Vec<u8>) {
        let [kind, a, b, size @ ..] = start;
        let size = usize::try_from(u32::from_be_bytes(size)).expect("as large as an address");
        let left = size.saturating_add(1);
        let channel = [a, b];
        self.state = match kind {
            HEADER => State::Held { left },
            METHOD if size <= MAX_HELD / 2 => State::Held { left },
            BODY if self.cuts.contains_key(&channel) => State::Cutting { channel, left },
            _ => {
                out.extend_from_slice(&self.held);
                State::Passing { left }
            }
        };
    }

    /// Passes on the frame that was held back. Mends it first if necessary.
    fn look(&mut self, out: &mut Vec<u8>) {
        let [kind, a, b, ..] = self.held[..] else { return };
        let payload = &self.held[START_BYTES..];
        let payload = payload.strip_suffix(&[END]).unwrap_or(payload);
        let mended = if kind == HEADER {
            let cut = Body::too_large(payload);
            let most = self.frame_max - START_BYTES - 1;
            let as_cut = cut.as_ref().map(Body::as_cut);
            let mended = properties::mended(payload, most, as_cut.as_ref());
            match cut {
                Some(cut) => self.cuts.insert([a, b], cut),
                None => self.cuts.remove(&[a, b]),
            };
            mended
        } else {
            self.frame_max = allowed(payload).unwrap_or(usize::MAX).min(self.frame_max);
            with_legible_names(payload)
        };
        match mended {
            Some(mended) => frame(out, kind, [a, b], &mended),
            None => out.extend_from_slice(&self.held),
        }
    }

    /// Reads a piece of a body that is being cut. `ended` is true if its frame has ended.
    fn cut(&mut self, channel: [u8; 2], piece: &[u8], ended: bool, out: &mut Vec<u8>) {
        let Some(body) = self.cuts.get_mut(&channel) else { return };
        body.hash.update(piece);
        body.left = body.left.saturating_sub(piece.len() as u64);
        let kept = &piece[..piece.len().min(body.keep)];
        body.keep -= kept.len();
        if !kept.is_empty() {
            frame(out, BODY, channel, kept);
        }
        if ended && body.left == 0 {
            let hash = format!("{:x}", std::mem::take(&mut body.hash).finalize());
            let end = end_of_cut(body.size, &hash);
            self.cuts.remove(&channel);
            frame(out, BODY, channel, end.as_bytes());
        }
    }
}

impl Body {
    /// Returns the body that a content header announces, if it is too large.
    fn too_large(header: &[u8]) -> Option<Self> {
        let size = properties::body_size(header)?;
        let hash = Sha256::new();
        (size > limits::MAX_BODY_BYTES as u64).then_some(Self {
            size,
            left: size,
            keep: KEPT_BODY_BYTES,
            hash,
        })
    }

    fn as_cut(&self) -> properties::Cut {
        let end = end_of_cut(self.size, &"0".repeat(64));
        properties::Cut { size: (self.keep + end.len()) as u64, sent: self.size }
    }
}

/// Returns the note that replaces the rest of a body. A body with this note at its end is not JSON.
fn end_of_cut(size: u64, hash: &str) -> String {
    format!("\n[cut here: {size} bytes in all, sha256:{hash}]")
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: [u8; 2], payload: &[u8]) {
    out.push(kind);
    out.extend(channel);
    out.extend(u32::try_from(payload.len()).expect("it came in a frame").to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END);
}

/// Returns the largest size of a frame that the broker allows, if this method states one.
fn allowed(method: &[u8]) -> Option<usize> {
    let mut from = Reader(method);
    if from.chunk()? != TUNE {
        return None;
    }
    let [_, _, bytes @ ..] = from.chunk::<6>()?;
    // Zero means that there is no limit.
    usize::try_from(u32::from_be_bytes(bytes)).ok().filter(|bytes| *bytes > 0)
}

/// Replaces the invalid bytes in the names of a method that delivers a message. Returns `None` if
/// all names are UTF-8 already, and for any other method.
fn with_legible_names(method: &[u8]) -> Option<Vec<u8>> {
    let mut from = Reader(method);
    match from.chunk()? {
        DELIVER => {
            // lapin chose the consumer's tag itself.
            from.short()?;
            from.take(9)?;
        }
        GET_OK => {
            from.take(9)?;
        }
        _ => return None,
    }
    let names = method.len() - from.0.len();
    let mut mended = method[..names].to_vec();
    for _ in 0..2 {
        let name = from.short()?;
        mended.push(u8::try_from(name.len()).expect("a short text has at most 255 bytes"));
        mended.extend(legible(name));
    }
    mended.extend_from_slice(from.0);
    (mended != method).then_some(mended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME_MAX: usize = 32 * 1024;

    fn passed(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut frames, mut out) = (Frames::new(FRAME_MAX), Vec::new());
        for piece in pieces {
            frames.pass(piece, &mut out);
        }
        out
    }

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, kind, [0, 1], payload);
        out
    }

    fn content(size: u64, properties: &[u8]) -> Vec<u8> {
        framed(HEADER, &[&[0, 60, 0, 0], &size.to_be_bytes()[..], properties].concat())
    }

    fn delivery(key: &[u8]) -> Vec<u8> {
        let key = [&[u8::try_from(key.len()).expect("short")], key].concat();
        framed(METHOD, &[&DELIVER[..], b"\x03tag", &[0; 9], b"\x02ex", &key].concat())
    }

    #[test]
    fn sound_frames_pass_as_they_are() {
        let ack = framed(METHOD, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        let header = content(4, &[0, 0]);
        let all = [delivery(b"key"), header, framed(BODY, b"body"), ack, framed(8, b"")].concat();
        assert_eq!(passed(&[&all]), all);
    }

    #[test]
    fn a_routing_key_becomes_legible_and_keeps_its_length() {
        assert_eq!(passed(&[&delivery(b"k\xffy")]), delivery(b"k?y"));
    }

    #[test]
    fn a_malformed_header_is_mended_and_its_body_passes() {
        let body = framed(BODY, b"body");
        // The flag says that there is a message id, but the id ends too early.
        let malformed = [content(4, &[0, 0x80, 9, b'x']), body.clone()].concat();
        let seen = passed(&[&malformed]);
        assert!(seen.ends_with(&body) && seen != malformed, "{seen:?}");
        assert!(seen.windows(14).any(|part| part == b"saga-malformed"), "{seen:?}");
    }

    #[test]
    fn a_header_that_the_broker_s_frames_have_no_room_for_is_mended() {
        // A long text of 5,000 bytes, with the name `a`.
        let entry = [b"\x01aS\x00\x00\x13\x88", &[b'x'; 5_000][..]].concat();
        let table =
            [&u32::try_from(entry.len()).expect("short").to_be_bytes()[..], &entry].concat();
        let large = content(0, &[&[0x20, 0][..], &table].concat());
        assert_eq!(passed(&[&large]), large);
        let tune = framed(METHOD, &[&TUNE[..], &[0, 0], &[0, 0, 0x10, 0], &[0, 0]].concat());
        let seen = passed(&[&tune, &large]);
        assert!(seen.starts_with(&tune) && seen.len() < 500, "{}", seen.len());
    }

    #[test]
    fn a_header_beyond_every_bound_is_still_one_frame() {
        let huge = content(4, &[&[0x20, 0, 0, 0x20, 0, 0][..], &vec![b'x'; 2 * MAX_HELD]].concat());
        let body = framed(BODY, b"body");
        let seen = passed(&[&huge, &body]);
        assert!(seen.ends_with(&body) && seen.len() < 1_000, "{}", seen.len());
    }

    #[test]
    fn a_body_beyond_the_bound_is_cut_and_the_next_one_is_not() {
        let size = limits::MAX_BODY_BYTES + 1;
        let mut sent = content(size as u64, &[0, 0]);
        for piece in vec![b'x'; size].chunks(FRAME_MAX - 8) {
            sent.extend(framed(BODY, piece));
        }
        let next = [content(4, &[0, 0]), framed(BODY, b"body")].concat();
        let seen = passed(&[&sent, &next]);
        assert!(seen.ends_with(&next));
        let frames = joined(&seen[..seen.len() - next.len()]);
        let [(HEADER, header), (BODY, body)] = &frames[..] else { panic!("{}", frames.len()) };
        assert_eq!(properties::body_size(header), Some(body.len() as u64));
        assert!(body.starts_with(&vec![b'x'; KEPT_BODY_BYTES]));
        assert!(body.len() < KEPT_BODY_BYTES + 200);
        let hash = format!("{:x}", Sha256::digest(vec![b'x'; size]));
        let end = end_of_cut(size as u64, &hash);
        assert!(body.ends_with(end.as_bytes()));
    }

    /// Returns the frames by kind and payload. Body frames that follow each other are joined.
    fn joined(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
        while let Some((start, rest)) = bytes.split_first_chunk::<START_BYTES>() {
            let [kind, _, _, size @ ..] = *start;
            let (payload, rest) = rest.split_at(u32::from_be_bytes(size) as usize);
            assert_eq!(rest[0], END);
            match frames.last_mut() {
                Some((BODY, body)) if kind == BODY => body.extend_from_slice(payload),
                _ => frames.push((kind, payload.to_vec())),
            }
            bytes = &rest[1..];
        }
        frames
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_bytes_come_do_not_matter(
            frames in prop::collection::vec(
                (1_u8..5, prop::collection::vec(any::<u8>(), 0..40)), 0..6,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let all: Vec<u8> =
                frames.iter().flat_map(|(kind, payload)| framed(*kind, payload)).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
            at.extend([0, all.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|two| &all[two[0]..two[1]]).collect();
            prop_assert_eq!(joined(&passed(&pieces)), joined(&passed(&[&all])));
        }
    }
}
