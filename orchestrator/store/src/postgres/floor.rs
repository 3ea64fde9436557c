//! A lower bound of the `wake_at` of all sagas that have not ended.
//!
//! While somebody holds a snapshot for long, for example `pg_dump`, vacuum cannot remove the index
//! entries of sagas that have ended since. Nearly all of them come before the entries of the sagas
//! that have not ended, so scans that begin at this bound skip them.
//!
//! A process that writes a `wake_at` below its bound lowers the bound first, and so finds the row
//! itself. In case that process has ended, the others search the whole index once in a while, and
//! find the row within [`SEARCH`], unless the search takes longer than a statement may.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use saga_core::{Failure, Timestamp};
use saga_engine::Write;
use saga_postgres::failure;
use sqlx::PgPool;
use tracing::warn;

use super::row::datetime;

/// Time for which a bound is used before it is raised. Raising it reads the entries above it.
const RAISE: Duration = Duration::from_secs(2);
/// Time after which the whole index is searched for the bound.
const SEARCH: Duration = Duration::from_secs(60);
/// If the first search of a process does not end in time, it looks at sagas that became due within
/// this time. Others are found by the processes that wrote them.
const UNSEARCHED: Duration = Duration::from_secs(3_600);

/// The bound, as it was read last.
#[derive(Debug, Default)]
pub(super) struct Floor {
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    floor: DateTime<Utc>,
    raised: Instant,
    searched: Instant,
}

impl Floor {
    /// Returns the bound. Reads it again if it is too old.
    pub(super) async fn get(&self, pool: &PgPool) -> Result<DateTime<Utc>, Failure> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let found = match known {
            Some(known) if now - known.searched < SEARCH => {
                if now - known.raised < RAISE {
                    return Ok(known.floor);
                }
                let floor = lowest(pool, known.floor).await?;
                Known { floor, raised: now, ..known }
            }
            Some(_) | None => match lowest(pool, datetime(Timestamp(i64::MIN))).await {
                Ok(floor) => Known { floor, raised: now, searched: now },
                // With very many entries the search does not end within a statement's time limit.
                Err(failure @ Failure::Conflict(_)) => {
                    warn!(%failure, "the oldest saga that is due cannot be searched for");
                    let floor = known.map_or_else(|| Utc::now() - UNSEARCHED, |known| known.floor);
                    Known { floor, raised: now, searched: now }
                }
                Err(failure) => return Err(failure),
            },
        };
        let mut now_known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let lowered = now_known.filter(|now| known.is_some_and(|known| now.floor < known.floor));
        let floor = lowered.map_or(found.floor, |lowered| lowered.floor.min(found.floor));
        *now_known = Some(Known { floor, ..found });
        Ok(floor)
    }

    /// Lowers the bound to the earliest `wake_at` that is about to be written.
    pub(super) fn lower(&self, writes: &[Write]) {
        let Some(earliest) = writes.iter().filter_map(|write| write.saga.wake_at).min() else {
            return;
        };
        if let Some(known) = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            known.floor = known.floor.min(datetime(earliest));
        }
    }
}

/// Returns the lowest `wake_at` from a bound on, but at most the database's time less a little,
/// because transactions that are under way commit with the time of their beginning.
async fn lowest(pool: &PgPool, from: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    let row = sqlx::query_scalar!(
        r#"SELECT LEAST((SELECT wake_at FROM sagas WHERE wake_at >= $1 ORDER BY wake_at LIMIT 1),
                        now() - interval '10 seconds') AS "floor!""#,
        from
    );
    row.fetch_one(pool).await.map_err(failure)
}
