//! Notices that a database is not the one that it was: another server has taken over, or a backup
//! was restored. Either may have lost commits that this process has seen.
//!
//! Only a process that has seen the database before can notice it. SQLite needs nothing like this:
//! one process has the file open, so nobody can restore it meanwhile.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use metrics::counter;
use sqlx::{PgConnection, PgPool};
use tokio::time::{sleep, timeout};
use tracing::error;

/// Interval at which the database's position is read, so that it is known when a connection is lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Time limit for one look. If the database's host has failed, no answer ever comes.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// A crash may move the end of the log back by this much, although every commit survives: it cuts
/// off a record that was only partly written.
const LONGEST_RECORD: i64 = 1 << 20;

const COUNTER: &str = "saga_database_went_back_total";

/// A process's memory of which database it uses, and of how far that database was. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Incarnation {
    role: Arc<str>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    last: Option<Identity>,
    /// Number of times that the database was found to be another one.
    changes: u64,
}

/// What tells a database from its older copies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// Name of the database.
    database: String,
    /// Made by `initdb`: another cluster has another one. `None` if this role may not read it.
    server: Option<i64>,
    /// A server that is promoted begins a new timeline. So does a recovery to a point in time.
    timeline: String,
    /// Object id of the database. It changes if the database is dropped and made again.
    oid: i64,
    /// Object id of the table of migrations. It changes if a dump is restored in place.
    schema: Option<i64>,
    /// How far the log is durable. It goes back if a copy of the files is put in their place.
    position: i64,
}

impl Incarnation {
    /// Makes the memory of a role that has not seen its database yet.
    #[must_use]
    pub fn of(role: &str) -> Self {
        Self { role: role.into(), seen: Arc::default() }
    }

    /// Returns how often the database was found to be another one. Whoever remembers rows forgets
    /// them when the number changes.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Looks at the database again and again, until the pool is closed.
    pub async fn follow(self, pool: PgPool) {
        while !pool.is_closed() {
            sleep(LOOK_INTERVAL).await;
            // A database that cannot be reached is reported by those who need it.
            let Ok(mut connection) = pool.acquire().await else { continue };
            if timeout(LOOK_LIMIT, self.look(&mut connection)).await.is_err() {
                connection.close_on_drop();
            }
        }
    }

    /// Compares the database behind a connection with the one that was seen last. A role that may
    /// not ask, or a standby, is no reason to do without the connection.
    pub(crate) async fn look(&self, connection: &mut PgConnection) {
        let before = self.lock().clone();
        if let Ok(Some(now)) = identity(connection).await {
            self.compare(&before, now);
        }
    }

    /// `before` is what was known when the question was asked. If the answers of two connections
    /// overtake each other, the older one does not look like a database that went back.
    fn compare(&self, before: &Seen, now: Identity) {
        let counter = counter!(
            COUNTER, "role" => self.role.to_string(), "database" => now.database.clone()
        );
        let mut seen = self.lock();
        if seen.changes != before.changes {
            return;
        }
        let why = before.last.as_ref().and_then(|last| last.differs(&now));
        counter.increment(u64::from(why.is_some()));
        if let Some(why) = why {
            error!(
                role = %self.role,
                database = now.database,
                why,
                "the database is not the one that it was, and may have lost commits: \
                 run `saga reconcile`, then `saga audit`"
            );
            *seen = Seen { last: Some(now), changes: seen.changes + 1 };
        } else {
            let furthest = seen.last.as_ref().map_or(now.position, |last| last.position);
            let position = furthest.max(now.position);
            // What could not be read this time is known from before: tables may be missing for a
            // moment, because they are made anew.
            let last = seen.last.as_ref();
            let server = now.server.or(last.and_then(|last| last.server));
            let schema = now.schema.or(last.and_then(|last| last.schema));
            seen.last = Some(Identity { position, server, schema, ..now });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while holding it")
    }
}

impl Identity {
    /// Returns how a later look shows that this database was replaced, if it does.
    fn differs(&self, now: &Self) -> Option<&'static str> {
        let other = |one: Option<i64>, two: Option<i64>| one.zip(two).is_some_and(|(a, b)| a != b);
        if other(self.server, now.server) {
            Some("another server answers")
        } else if self.timeline != now.timeline {
            Some("the server is on another timeline")
        } else if self.oid != now.oid {
            Some("the database was made anew")
        } else if other(self.schema, now.schema) {
            Some("the tables were made anew")
        } else if self.position.saturating_sub(now.position) > LONGEST_RECORD {
            Some("the server's log ends before what was durable")
        } else {
            None
        }
    }
}

/// Reads the identity. Returns `None` from a standby, which has no position of its own.
async fn identity(connection: &mut PgConnection) -> Result<Option<Identity>, sqlx::Error> {
    type Row = (String, i64, Option<i64>, Option<String>, Option<i64>);
    let (database, oid, schema, timeline, position): Row = sqlx::query_as(
        "SELECT current_database()::text,
                (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
                to_regclass('_sqlx_migrations')::oid::bigint,
                CASE WHEN NOT pg_is_in_recovery()
                     THEN substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END,
                CASE WHEN NOT pg_is_in_recovery()
                     THEN (pg_current_wal_flush_lsn() - '0/0')::bigint END",
    )
    .fetch_one(&mut *connection)
    .await?;
    let (Some(timeline), Some(position)) = (timeline, position) else { return Ok(None) };
    // Everybody may read it, unless an administrator has taken that away.
    let server = sqlx::query_scalar("SELECT system_identifier FROM pg_control_system()");
    let server = server.fetch_one(connection).await.ok();
    Ok(Some(Identity { database, server, timeline, oid, schema, position }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Identity {
        Identity {
            database: "books".to_owned(),
            server: Some(1),
            timeline: "00000001".to_owned(),
            oid: 16_385,
            schema: Some(16_400),
            position: 10 << 20,
        }
    }

    fn found(incarnation: &Incarnation, now: Identity) -> u64 {
        let before = incarnation.lock().clone();
        incarnation.compare(&before, now);
        incarnation.changes()
    }

    #[test]
    fn whatever_tells_a_database_from_its_older_copy_is_noticed_once() {
        for other in [
            Identity { server: Some(2), ..seen() },
            Identity { timeline: "00000002".to_owned(), ..seen() },
            Identity { oid: 16_999, ..seen() },
            Identity { schema: Some(16_999), ..seen() },
            Identity { position: 8 << 20, ..seen() },
        ] {
            let incarnation = Incarnation::of("order");
            assert_eq!(found(&incarnation, seen()), 0, "the first look compares nothing");
            assert_eq!(found(&incarnation, other.clone()), 1, "{other:?}");
            assert_eq!(found(&incarnation, other.clone()), 1, "{other:?} is known by now");
        }
    }

    #[test]
    fn tables_that_were_missing_for_a_look_and_are_made_anew_are_noticed() {
        let incarnation = Incarnation::of("order");
        found(&incarnation, seen());
        let without = Identity { schema: None, server: None, ..seen() };
        assert_eq!(found(&incarnation, without), 0);
        assert_eq!(found(&incarnation, Identity { schema: Some(16_999), ..seen() }), 1);
    }

    #[test]
    fn what_happens_to_every_database_is_no_reason_for_an_alarm() {
        let incarnation = Incarnation::of("order");
        for normal in [
            Identity { schema: None, ..seen() },
            seen(),
            Identity { server: None, ..seen() },
            Identity { position: 20 << 20, ..seen() },
            // A crash has cut off a record.
            Identity { position: (20 << 20) - 8_192, ..seen() },
        ] {
            assert_eq!(found(&incarnation, normal.clone()), 0, "{normal:?}");
        }
        // What is furthest counts, not what was seen last.
        assert_eq!(found(&incarnation, Identity { position: 19 << 20, ..seen() }), 0);
        assert_eq!(found(&incarnation, Identity { position: (19 << 20) - 1, ..seen() }), 1);
    }

    #[test]
    fn an_answer_that_was_overtaken_is_not_taken_for_an_older_copy() {
        let incarnation = Incarnation::of("order");
        let before = incarnation.lock().clone();
        found(&incarnation, Identity { position: 20 << 20, ..seen() });
        incarnation.compare(&before, seen());
        assert_eq!(incarnation.changes(), 0);
        // Two connections that notice the same change count it once.
        let before = incarnation.lock().clone();
        incarnation.compare(&before, Identity { oid: 16_999, ..seen() });
        incarnation.compare(&before, Identity { oid: 16_999, ..seen() });
        assert_eq!(incarnation.changes(), 1);
    }
}
