//! The watermark: an id below which all sagas have ended and may be deleted.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{InvalidId, SagaId, Timestamp};

/// Least time for which sagas, their keys and the participants' records of them are kept. Every
/// other limit of the protocol is far shorter.
pub const LEAST_RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// Largest difference between the clocks of a database and of a process. If it is larger, one of
/// them is wrong, and the watermark is not raised.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(3_600);

/// Returns true if two clocks differ by no more than [`CLOCKS_DIFFER`].
#[must_use]
pub fn clocks_agree(one: Timestamp, other: Timestamp) -> bool {
    u128::from(one.0.abs_diff(other.0)) <= CLOCKS_DIFFER.as_micros()
}

/// An id below which every saga has ended long ago: its rows, its keys and the participants'
/// records of it may be deleted. A watermark never goes back.
///
/// A saga's id is a UUIDv7, so ids are ordered by the time at which they were made, on the clocks
/// of the processes that admitted the sagas. Those may differ from the database's clock by minutes;
/// sagas below a watermark are older by days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(SagaId);

impl Watermark {
    /// The watermark below which there is no saga.
    pub const NONE: Self = Self(SagaId(Uuid::nil()));

    /// Returns the highest watermark allowed at `now`: `retention_millis` before both `now` and the
    /// oldest saga that has not ended. A stuck or paused saga has not ended.
    #[must_use]
    pub fn reach(now: Timestamp, unfinished: Option<SagaId>, retention_millis: u64) -> Self {
        let oldest = unfinished.map_or(now, |saga| now.min(saga.made_at()));
        let micros = i64::try_from(retention_millis.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Self::at(Timestamp(oldest.0.saturating_sub(micros)))
    }

    /// Returns the watermark that is above all sagas made before an instant.
    #[must_use]
    pub fn at(instant: Timestamp) -> Self {
        let millis = u128::from(u64::try_from(instant.0.div_euclid(1_000)).unwrap_or(0));
        let millis = millis.min((1 << 48) - 1);
        // This is the smallest UUIDv7 of that millisecond.
        Self(SagaId(Uuid::from_u128((millis << 80) | (7 << 76) | (1 << 63))))
    }

    /// Reads a watermark from the id that it was stored as.
    #[must_use]
    pub const fn from_id(id: SagaId) -> Self {
        Self(id)
    }

    /// Returns the id to store the watermark as. Every saga below the watermark has a smaller id.
    #[must_use]
    pub const fn id(self) -> SagaId {
        self.0
    }

    /// Returns true if the saga is below the watermark: its commands are late and never run, and
    /// its quarantined messages are never sent again.
    #[must_use]
    pub fn covers(self, saga: SagaId) -> bool {
        saga < self.0
    }

    /// Returns the instant for which the watermark was made.
    #[must_use]
    pub fn instant(self) -> Timestamp {
        self.0.made_at()
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Watermark {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_764_000_000_123_456);
    const HOUR: u64 = 3_600_000;
    const WEEK: u64 = 7 * 24 * HOUR;

    fn made(at: Timestamp, rest: u128) -> SagaId {
        let millis = u128::try_from(at.0 / 1_000).expect("after 1970");
        let rest = rest & ((1 << 74) - 1);
        let (high, low) = (rest >> 62, rest & ((1 << 62) - 1));
        SagaId(Uuid::from_u128((millis << 80) | (7 << 76) | (high << 64) | (1 << 63) | low))
    }

    fn before(millis: u64) -> Timestamp {
        Timestamp(NOW.0 - i64::try_from(millis).expect("not so long") * 1_000)
    }

    #[test]
    fn without_an_unfinished_saga_it_is_the_retention_behind_the_clock() {
        let mark = Watermark::reach(NOW, None, WEEK);
        assert!(mark.covers(made(before(WEEK + 1), u128::MAX)));
        assert!(!mark.covers(made(before(WEEK), 0)), "made in its very millisecond");
        assert!(!mark.covers(made(NOW, 0)));
    }

    #[test]
    fn the_oldest_unfinished_saga_holds_it_back_by_the_retention() {
        let oldest = made(before(3 * WEEK), 7);
        let mark = Watermark::reach(NOW, Some(oldest), WEEK);
        assert!(!mark.covers(oldest));
        assert!(!mark.covers(made(before(4 * WEEK - 1), 0)), "it is younger than four weeks");
        assert!(mark.covers(made(before(4 * WEEK + 1), 0)));
    }

    /// Ids are in the order of time only if the clocks of the processes agree. They differ by less
    /// than a week.
    #[test]
    fn a_process_clock_an_hour_off_puts_no_new_saga_below_it_and_does_not_push_it() {
        let (behind, ahead) = (made(before(HOUR), 0), made(NOW.plus_millis(HOUR), 0));
        let mark = Watermark::reach(NOW, None, WEEK);
        assert!(!mark.covers(behind));
        assert_eq!(Watermark::reach(NOW, Some(ahead), WEEK), mark, "its clock is not believed");
        let held = Watermark::reach(NOW, Some(behind), WEEK);
        assert_eq!(held.instant(), Timestamp(before(WEEK + HOUR).0 / 1_000 * 1_000));
    }

    #[test]
    fn a_real_id_is_ordered_by_when_it_was_made() {
        let mut last = SagaId(Uuid::nil());
        for millis in [0_u64, 1, 2, 255, 256, 65_535, 65_536, 16_777_216] {
            let seconds = 1_764_000_000 + millis / 1_000;
            let nanos = u32::try_from(millis % 1_000 * 1_000_000).expect("below a second");
            let made = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
            let id = SagaId(Uuid::new_v7(made));
            assert!(last < id, "{last} was made before {id}");
            let at = Timestamp((1_764_000_000_000 + i64::try_from(millis).expect("small")) * 1_000);
            assert_eq!(id.made_at(), at);
            assert!(!Watermark::at(at).covers(id));
            assert!(Watermark::at(at.plus_millis(1)).covers(id));
            last = id;
        }
    }

    #[test]
    fn it_survives_writing_and_reading() {
        let mark = Watermark::at(NOW);
        assert_eq!(mark.to_string().parse(), Ok(mark));
        assert_eq!(mark.id().0.get_version_num(), 7);
    }

    #[test]
    fn there_is_one_for_every_instant() {
        for instant in [i64::MIN, -1, 0, i64::MAX] {
            let _ = Watermark::at(Timestamp(instant));
        }
        assert!(Watermark::reach(Timestamp(0), None, u64::MAX) <= Watermark::at(Timestamp(0)));
    }
}
