//! Copies JSON while parsing it, and leaves out the values of fields with secret names.
//!
//! No tree of values is built. A tree of `[0,0,…]` would take sixteen times the bytes of its text,
//! and of two fields with the same name it would keep only one.

use std::{fmt, io};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::ser::{CompactFormatter, Formatter};

use super::{Hidden, REDACTED, mask::Tokens};

/// Copies `body` in the given layout, using at most `most` bytes. Replaces the values of fields
/// with secret names, and adds the texts and numbers in those values to `tokens`.
pub(super) fn copy<F: Formatter>(
    body: &[u8],
    layout: F,
    most: usize,
    tokens: &mut Tokens,
) -> Result<String, Hidden> {
    let mut copy = Copy {
        out: Bounded { text: Vec::with_capacity(most), full: false },
        layout,
        tokens,
        inner: false,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = json.deserialize_any(&mut copy).and_then(|()| json.end());
    let Copy { out, tokens, .. } = copy;
    match read {
        Ok(()) => String::from_utf8(out.text).map_err(|_| Hidden::NoJson),
        Err(_) if tokens.too_many() => Err(Hidden::TooManyTokens),
        Err(_) if out.full => Err(Hidden::Grown),
        Err(_) => Err(Hidden::NoJson),
    }
}

/// Returns true if a field with this name, or a text that contains the name, may hold a token.
fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    plain.contains("token") || plain == "database64"
}

/// Returns true if a text looks like a field's name. Any other text may itself hold a token.
fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// A text buffer that refuses to grow beyond its initial capacity.
struct Bounded {
    text: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.full |= self.text.capacity() - self.text.len() < bytes.len();
        if self.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies a value recursively. `serde_json` limits the depth to 128 levels.
struct Copy<'a, W, F> {
    out: W,
    layout: F,
    tokens: &'a mut Tokens,
    /// True if this is JSON inside a string. Strings inside that JSON are not searched: otherwise a
    /// body could nest strings to make the recursion as deep as it likes.
    inner: bool,
}

impl<W: io::Write, F: Formatter> Copy<'_, W, F> {
    fn write<E: serde::de::Error>(
        &mut self,
        write: impl FnOnce(&mut F, &mut W) -> io::Result<()>,
    ) -> Result<(), E> {
        write(&mut self.layout, &mut self.out).map_err(E::custom)
    }

    fn leaf<E: serde::de::Error>(&mut self, value: impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(&mut self.out, &value).map_err(E::custom)
    }

    /// Searches a string that may hold JSON. The string is not copied, only its tokens are
    /// collected.
    fn look_into(&mut self, text: &str) {
        if !self.inner {
            let tokens = &mut *self.tokens;
            let mut copy = Copy { out: io::sink(), layout: CompactFormatter, tokens, inner: true };
            // Errors do not matter here: the string is not shown in any case.
            let _ = serde_json::Deserializer::from_str(text).deserialize_any(&mut copy);
        }
    }
}

impl<'de, W: io::Write, F: Formatter> DeserializeSeed<'de> for &mut Copy<'_, W, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de, W: io::Write, F: Formatter> Visitor<'de> for &mut Copy<'_, W, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.leaf(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.leaf(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.leaf(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.leaf(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.leaf(value)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if !is_secret(text) {
            return self.leaf(text);
        }
        self.look_into(text);
        if self.tokens.too_many() { Err(E::custom("too many")) } else { self.leaf(REDACTED) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.write(|layout, out| layout.begin_array(out))?;
        let mut first = true;
        while let Some(()) = items.next_element_seed(Item { copy: &mut *self, first })? {
            first = false;
        }
        self.write(|layout, out| layout.end_array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.write(|layout, out| layout.begin_object(out))?;
        let mut first = true;
        while let Some(name) = fields.next_key::<String>()? {
            let secret = is_secret(&name);
            let shown = if secret && !is_name(&name) { REDACTED } else { &name };
            self.write(|layout, out| layout.begin_object_key(out, first))?;
            self.leaf(shown)?;
            self.write(|layout, out| {
                layout.end_object_key(out)?;
                layout.begin_object_value(out)
            })?;
            if secret {
                fields.next_value_seed(Remember(self.tokens))?;
                self.leaf(REDACTED)?;
            } else {
                fields.next_value_seed(&mut *self)?;
            }
            self.write(|layout, out| layout.end_object_value(out))?;
            first = false;
        }
        self.write(|layout, out| layout.end_object(out))
    }
}

/// Copies one item of an array. The separator before it is written only once the item is there.
struct Item<'a, C> {
    copy: &'a mut C,
    first: bool,
}

impl<'de, W: io::Write, F: Formatter> DeserializeSeed<'de> for Item<'_, Copy<'_, W, F>> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        let Self { copy, first } = self;
        copy.write(|layout, out| layout.begin_array_value(out, first))?;
        value.deserialize_any(&mut *copy)?;
        copy.write(|layout, out| layout.end_array_value(out))
    }
}

/// Adds every text and number in a value to the tokens.
struct Remember<'a>(&'a mut Tokens);

impl Remember<'_> {
    fn add<E: serde::de::Error>(self, token: &str) -> Result<(), E> {
        self.0.add(token);
        if self.0.too_many() { Err(E::custom("too many")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Remember<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Remember<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.add(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.add(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        let shown = serde_json::to_string(&number).map_err(E::custom)?;
        self.add(&shown)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.add(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(()) = items.next_element_seed(Remember(self.0))? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(serde::de::IgnoredAny) = fields.next_key()? {
            fields.next_value_seed(Remember(self.0))?;
        }
        Ok(())
    }
}
