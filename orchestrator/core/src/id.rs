//! Ids of sagas and commands, and instants.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a saga: a UUIDv7 made at admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SagaId(pub Uuid);

impl SagaId {
    /// Returns the time at which the id was made, by the clock of the process that made it.
    #[must_use]
    pub const fn made_at(self) -> Timestamp {
        // The first 48 bits of a UUIDv7 are milliseconds. As microseconds they are far below 2^63.
        Timestamp((self.0.as_u128() >> 80) as i64 * 1_000)
    }

    /// Makes an id from a UUIDv7 that was made just now, for a saga whose rows lie in `partition`.
    ///
    /// The partition's number replaces the last ten bits before the UUID's variant: the last ten of
    /// `rand_a`, which a UUIDv7 may use for anything. So the rows of one saga in all tables, and the
    /// row of its key, can lie on one node of a sharded database, which finds them by the id alone.
    /// Nothing uses the partition yet. Ids that were made without one are as good.
    ///
    /// ```
    /// # use saga_core::{Partition, SagaId};
    /// let made = "0199f6e4-32b7-7fff-8a51-b6f2c5d7e901".parse().unwrap();
    /// let id = SagaId::in_partition(made, Partition::of_hash(&[0x12, 0x34]));
    /// assert_eq!(id.to_string(), "0199f6e4-32b7-7e34-8a51-b6f2c5d7e901");
    /// assert_eq!(id.partition().number(), 0x234);
    /// ```
    #[must_use]
    pub const fn in_partition(made: Uuid, partition: Partition) -> Self {
        let others = made.as_u128() & !((Partition::COUNT as u128 - 1) << PARTITION_BITS_FROM);
        Self(Uuid::from_u128(others | (partition.0 as u128) << PARTITION_BITS_FROM))
    }

    /// Returns the partition of the saga's rows.
    #[must_use]
    pub const fn partition(self) -> Partition {
        Partition((self.0.as_u128() >> PARTITION_BITS_FROM) as u16 % Partition::COUNT)
    }

    /// Returns the next greater id.
    #[must_use]
    pub const fn following(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().saturating_add(1)))
    }
}

/// Where a partition's number begins in an id, in bits from the end: before `rand_b` and the variant.
const PARTITION_BITS_FROM: u32 = 64;

/// One of the parts into which a sharded database could divide its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u16);

impl Partition {
    /// The number of partitions. It never changes, because ids contain their partition.
    pub const COUNT: u16 = 1 << 10;

    /// Returns the partition of whatever has this hash.
    #[must_use]
    pub const fn of_hash(hash: &[u8; 2]) -> Self {
        Self(u16::from_be_bytes(*hash) % Self::COUNT)
    }

    /// Returns the partition's number, less than [`Partition::COUNT`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for SagaId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // Only lower case with hyphens is accepted: two spellings of one id would be two keys.
        let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
        if text.len() == 36 && text.bytes().all(|b| !b.is_ascii_uppercase()) {
            Ok(Self(id))
        } else {
            Err(InvalidId)
        }
    }
}

/// A step's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The command that does the step.
    Action,
    /// The command that undoes the step.
    Compensation,
}

impl Direction {
    /// Returns the direction as it is written in messages and histories.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The idempotency key of a command. It is derived, never random (semantics 2). As text it is
/// `<saga>/<step>/<direction>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId {
    /// The saga that sends the command.
    pub saga: SagaId,
    /// The step that the command belongs to.
    pub step: String,
    /// The command's direction: action or compensation.
    pub direction: Direction,
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.saga, self.step, self.direction)
    }
}

impl FromStr for CommandId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut parts = text.split('/');
        let (Some(saga), Some(step), Some(direction), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidId);
        };
        if step.is_empty()
            || step.len() > crate::limits::MAX_STEP_NAME_BYTES
            || !step.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err(InvalidId);
        }
        Ok(Self {
            saga: saga.parse()?,
            step: step.to_owned(),
            direction: match direction {
                "action" => Direction::Action,
                "compensation" => Direction::Compensation,
                _ => return Err(InvalidId),
            },
        })
    }
}

/// The error for a text that is not an id. Parsing the same text again cannot help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form <saga>/<step>/<direction>")]
pub struct InvalidId;

/// An instant on the saga database's clock, in microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the instant `millis` milliseconds after this one.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        let millis =
            if millis > i64::MAX as u64 / 1_000 { i64::MAX / 1_000 } else { millis as i64 };
        Self(self.0.saturating_add(millis * 1_000))
    }

    /// Returns the instant that is `span` before this one.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_id_survives_writing_and_reading() {
        let text = "01890a5d-ac96-774b-bcce-b302099a8057/reserve-stock/compensation";
        let id: CommandId = text.parse().expect("well-formed");
        assert_eq!(id.direction, Direction::Compensation);
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn anything_else_is_no_command_id() {
        for text in [
            "",
            "x",
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "01890a5d-ac96-774b-bcce-b302099a8057//action",
            "01890a5d-ac96-774b-bcce-b302099a8057/a/action/b",
            "01890a5d-ac96-774b-bcce-b302099a8057/a/undo",
            "01890A5D-AC96-774B-BCCE-B302099A8057/a/action",
            "01890a5dac96774bbcceb302099a8057/a/action",
            "01890a5d-ac96-774b-bcce-b302099a8057/A B/action",
        ] {
            assert_eq!(text.parse::<CommandId>(), Err(InvalidId), "{text}");
        }
    }
}
