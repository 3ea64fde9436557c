//! Mends content headers that a client library could not read.
//!
//! The broker passes a message's properties on exactly as any sender published them, except that it
//! adds an entry for a dead letter. lapin ends the whole connection when a short text is not UTF-8
//! or a frame is too large. Its parser also recurses once for each level of a nested table, on a
//! thread with an ordinary stack: some thousand levels end the process. So every content header is
//! checked before lapin sees it (see [`crate::frames`]).

use saga_messaging::MALFORMED_HEADER;

/// Deepest nesting of a header's value. The broker's own entry for dead letters has three levels.
const MAX_DEPTH: usize = 16;
/// Maximum number of bytes of the header entries that are kept of a malformed message.
const KEPT_TABLE_BYTES: usize = 16 * 1024;
/// Bytes of a content header before its properties: class, weight and size of the body.
const FIXED_BYTES: usize = 12;
/// The flag of the property that holds the headers.
const HEADERS: u16 = 1 << 13;
/// The two lowest flags belong to no property. One says that more flags follow, which none ever do.
const NO_PROPERTY: u16 = 0b11;

/// The shapes of the properties, in the order of their flags from the highest bit.
const SHAPES: [Shape; 14] = [
    Shape::Text, // content type
    Shape::Text, // content encoding
    Shape::Table,
    Shape::Bytes(1), // delivery mode
    Shape::Bytes(1), // priority
    Shape::Text,     // correlation id
    Shape::Text,     // reply to
    Shape::Text,     // expiration
    Shape::Text,     // message id
    Shape::Bytes(8), // timestamp
    Shape::Text,     // type
    Shape::Text,     // user id
    Shape::Text,     // app id
    Shape::Text,     // cluster id
];

#[derive(Clone, Copy)]
enum Shape {
    /// A byte with the length, then at most 255 bytes of UTF-8.
    Text,
    Table,
    Bytes(usize),
}

/// A body that was cut.
pub(crate) struct Cut {
    /// Its size after the cut.
    pub(crate) size: u64,
    /// Its size as it was sent.
    pub(crate) sent: u64,
}

/// Returns the size of the body that a content header announces, or `None` if the bytes are too
/// few.
pub(crate) fn body_size(header: &[u8]) -> Option<u64> {
    let (_, rest) = header.split_first_chunk::<4>()?;
    rest.first_chunk().copied().map(u64::from_be_bytes)
}

/// Mends a content header: leaves out the parts that cannot be read, and adds a header with the
/// reason to the message. Returns `None` if the content header is readable as it is. `most` is the
/// number of bytes that it may have.
pub(crate) fn mended(header: &[u8], most: usize, cut: Option<&Cut>) -> Option<Vec<u8>> {
    let (fixed, properties) = header.split_first_chunk::<FIXED_BYTES>()?;
    let mut kept = Kept::default();
    let complete = kept.read(properties).is_some();
    if !complete {
        kept.defect("its properties end too early, or are of an unknown kind");
    }
    let reason = if header.len() > most {
        format!("its properties have {} bytes", header.len() - FIXED_BYTES)
    } else if let Some(defect) = kept.defect {
        defect.to_owned()
    } else {
        format!("a body of {} bytes", cut?.sent)
    };
    let mut mended = fixed[..4].to_vec();
    let size = cut.map_or_else(|| fixed[4..].to_vec(), |cut| cut.size.to_be_bytes().to_vec());
    mended.extend(size);
    mended.extend((kept.flags | HEADERS).to_be_bytes());
    mended.extend(kept.before);
    put_table(&mut mended, kept.entries, KEPT_TABLE_BYTES.min(most / 4), &reason);
    mended.extend(kept.after);
    Some(mended)
}

/// Writes a table with the reason and as many entries as there is room for, the smallest first. The
/// broker's own entries are small, so they are kept.
fn put_table(to: &mut Vec<u8>, mut entries: Vec<&[u8]>, room: usize, reason: &str) {
    entries.sort_by_key(|entry| entry.len());
    let mut table = Vec::new();
    for entry in entries {
        if table.len() + entry.len() <= room {
            table.extend_from_slice(entry);
        }
    }
    put_short(&mut table, MALFORMED_HEADER.as_bytes());
    table.push(b'S');
    put_length(&mut table, reason.len());
    table.extend_from_slice(reason.as_bytes());
    put_length(to, table.len());
    to.extend(table);
}

fn put_short(to: &mut Vec<u8>, text: &[u8]) {
    to.push(u8::try_from(text.len()).expect("a short text has at most 255 bytes"));
    to.extend_from_slice(text);
}

fn put_length(to: &mut Vec<u8>, length: usize) {
    to.extend(u32::try_from(length).expect("it is bounded").to_be_bytes());
}

/// The properties that can be read.
#[derive(Default)]
struct Kept<'a> {
    flags: u16,
    /// The properties before the headers.
    before: Vec<u8>,
    /// The headers, each with its name.
    entries: Vec<&'a [u8]>,
    /// The properties after the headers.
    after: Vec<u8>,
    /// The first defect that was found.
    defect: Option<&'static str>,
}

impl<'a> Kept<'a> {
    /// Reads as many properties as possible. Returns `None` if it could not read to the end.
    fn read(&mut self, properties: &'a [u8]) -> Option<()> {
        let mut from = Reader(properties);
        let flags = from.chunk().map(u16::from_be_bytes)?;
        if flags & NO_PROPERTY != 0 {
            return None;
        }
        for (bit, shape) in (0..16).rev().zip(SHAPES) {
            let flag = 1 << bit;
            if flags & flag == 0 {
                continue;
            }
            match shape {
                Shape::Text => {
                    let text = from.short()?;
                    let text = self.utf8(text);
                    put_short(self.side(flag), &text);
                }
                Shape::Bytes(count) => {
                    let bytes = from.take(count)?;
                    self.side(flag).extend_from_slice(bytes);
                }
                Shape::Table => {
                    let table = from.long()?;
                    self.headers(table);
                }
            }
            self.flags |= flag;
        }
        from.0.is_empty().then_some(())
    }

    fn side(&mut self, flag: u16) -> &mut Vec<u8> {
        if flag > HEADERS { &mut self.before } else { &mut self.after }
    }

    fn defect(&mut self, defect: &'static str) {
        self.defect.get_or_insert(defect);
    }

    /// Returns a text unchanged, or with a question mark for each byte that is not UTF-8.
    fn utf8(&mut self, text: &[u8]) -> Vec<u8> {
        if std::str::from_utf8(text).is_err() {
            self.defect("one of its properties is not UTF-8");
        }
        legible(text)
    }

    /// Keeps the sound entries. Stops at an entry of an unknown kind, because its end is unknown.
    fn headers(&mut self, table: &'a [u8]) {
        let mut from = Reader(table);
        while !from.0.is_empty() {
            let start = from.0;
            match entry(&mut from, 0) {
                Some(Ok(())) => self.entries.push(&start[..start.len() - from.0.len()]),
                Some(Err(Unsound)) => {
                    self.defect("a header is not UTF-8, nested too deep, or of an unknown kind");
                }
                None => {
                    self.defect("its headers end too early, or are of an unknown kind");
                    return;
                }
            }
        }
    }
}

/// Replaces each byte that is not UTF-8 by a question mark. The length stays the same.
pub(crate) fn legible(text: &[u8]) -> Vec<u8> {
    let mut legible = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        legible.extend_from_slice(chunk.valid().as_bytes());
        legible.extend(chunk.invalid().iter().map(|_| b'?'));
    }
    legible
}

/// An entry or value that lapin could not read, or that is nested too deeply.
struct Unsound;

/// Reads an entry: a name and a value. Returns `None` if the end of the entry is unknown.
fn entry(from: &mut Reader<'_>, depth: usize) -> Option<Result<(), Unsound>> {
    let name = from.short()?;
    let value = value(from, depth)?;
    Some(if std::str::from_utf8(name).is_ok() { value } else { Err(Unsound) })
}

/// Reads a value of a table or an array. Tables and arrays state their length, so the end of a
/// value is known even if a value in it cannot be read.
fn value(from: &mut Reader<'_>, depth: usize) -> Option<Result<(), Unsound>> {
    let size = match from.take(1)?[0] {
        b'F' => return from.long().map(|table| all(table, depth, entry)),
        b'A' => return from.long().map(|array| all(array, depth, value)),
        b'S' | b'x' => return from.long().map(|_| Ok(())),
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        _ => return None,
    };
    from.take(size).map(|_| Ok(()))
}

/// Checks all values that are nested in a value.
fn all(
    nested: &[u8],
    depth: usize,
    one: fn(&mut Reader<'_>, usize) -> Option<Result<(), Unsound>>,
) -> Result<(), Unsound> {
    if depth >= MAX_DEPTH {
        return Err(Unsound);
    }
    let mut from = Reader(nested);
    while !from.0.is_empty() {
        one(&mut from, depth + 1).ok_or(Unsound)??;
    }
    Ok(())
}

/// Reads bytes from front to back. Each method returns `None` if there are too few bytes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    /// Reads a short text, and returns it without its length.
    pub(crate) fn short(&mut self) -> Option<&'a [u8]> {
        let [length] = self.chunk()?;
        self.take(length.into())
    }

    /// Reads a long text, a table or an array, and returns it without its length.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.chunk().map(u32::from_be_bytes)?;
        self.take(length.try_into().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::basic::parse_properties;
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 32 * 1024;

    fn header(flags: u16, values: &[u8]) -> Vec<u8> {
        [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], &flags.to_be_bytes()[..], values].concat()
    }

    /// Returns the properties as lapin reads them, if lapin can read them.
    fn read(header: &[u8]) -> Option<lapin::BasicProperties> {
        let (rest, properties) = parse_properties(&header[FIXED_BYTES..]).ok()?;
        rest.is_empty().then_some(properties)
    }

    fn table(entries: &[&[u8]]) -> Vec<u8> {
        let entries = entries.concat();
        [&u32::try_from(entries.len()).expect("short").to_be_bytes()[..], &entries].concat()
    }

    #[test]
    fn what_can_be_read_of_a_malformed_header_is_kept() {
        let good = b"\x04goodS\x00\x00\x00\x02ok";
        let bad = b"\x02b\xffI\x00\x00\x00\x01";
        let values = [table(&[good, bad]), b"\x02a\xff".to_vec(), b"\x02id".to_vec()].concat();
        let header = header(1 << 13 | 1 << 10 | 1 << 7, &values);
        assert!(read(&header).is_none(), "lapin does not read it");
        let mended = mended(&header, MOST, None).expect("it is malformed");
        assert_eq!(body_size(&mended), Some(7));
        let properties = read(&mended).expect("now it does");
        assert_eq!(properties.correlation_id().as_ref().expect("kept").as_str(), "a?");
        assert_eq!(properties.message_id().as_ref().expect("kept").as_str(), "id");
        let headers = properties.headers().as_ref().expect("some").inner();
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert!(headers.contains_key("good") && headers.contains_key(MALFORMED_HEADER));
    }

    #[test]
    fn of_too_many_headers_the_small_ones_are_kept() {
        let large = [b"\x05largeS\x00\x00\x75\x30", &[b'x'; 30_000][..]].concat();
        let death = b"\x07x-deathS\x00\x00\x00\x02ok";
        let header = header(1 << 13, &table(&[&large, death, &[large.clone()].concat()]));
        let mended = mended(&header, MOST, None).expect("it is too large");
        assert!(mended.len() < MOST);
        let properties = read(&mended).expect("lapin reads it");
        let headers = properties.headers().as_ref().expect("some").inner();
        assert!(headers.contains_key("x-death") && !headers.contains_key("large"), "{headers:?}");
    }

    #[test]
    fn sound_headers_are_left_alone() {
        let nested = b"\x01aF\x00\x00\x00\x09\x01bA\x00\x00\x00\x02t\x01";
        for (flags, values) in [
            (0, vec![]),
            (1 << 15 | 1 << 12, b"\x04text\x02".to_vec()),
            (1 << 13 | 1 << 6, [table(&[nested]), vec![0; 8]].concat()),
        ] {
            let header = header(flags, &values);
            assert!(read(&header).is_some(), "lapin reads it");
            assert_eq!(mended(&header, MOST, None), None);
        }
    }

    proptest! {
        #[test]
        fn lapin_reads_whatever_was_mended_or_left_alone(
            flags in any::<u16>(),
            values in prop::collection::vec(
                prop_oneof![Just(0_u8), Just(1), Just(4), Just(b'F'), Just(b'A'), Just(b'S'), any::<u8>()],
                0..80,
            ),
        ) {
            let header = header(flags, &values);
            let seen = mended(&header, MOST, None).unwrap_or(header);
            prop_assert!(read(&seen).is_some(), "{seen:?}");
        }
    }
}
