//! Keeps sagas in memory. Implements both of the engine's ports; one lock makes a transaction.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use saga_core::{Failure, HistoryEntry, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Act, Admission, Census, Handled, Horizon, IdempotencyKey, Inspected, ListFilter,
    NewQuarantined, Pruned, QuarantineFilter, QuarantineState, Quarantined, Range, Retention,
    SagaReads, SagaStore, Write,
};

#[derive(Clone, Default)]
pub(crate) struct Memory {
    rows: Arc<Mutex<Rows>>,
    away: Arc<AtomicBool>,
}

pub(crate) struct Rows {
    pub(crate) keys: BTreeMap<(String, &'static str, String), (Vec<u8>, SagaId)>,
    pub(crate) sagas: BTreeMap<SagaId, Instance>,
    pub(crate) history: BTreeMap<(SagaId, u64), HistoryEntry>,
    pub(crate) quarantine: BTreeMap<String, Quarantined>,
    pub(crate) watermark: Watermark,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            sagas: BTreeMap::new(),
            history: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            watermark: Watermark::NONE,
        }
    }
}

impl Memory {
    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().expect("no test panics while holding it")
    }

    /// Makes every call fail as unavailable, or makes them succeed again.
    pub(crate) fn be_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn open(&self) -> Result<MutexGuard<'_, Rows>, Failure> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Failure::Unavailable("the test wants it so".to_owned()));
        }
        Ok(self.rows())
    }
}

impl Rows {
    fn known(&self, key: &IdempotencyKey) -> Option<Admission> {
        let name = (key.caller.clone(), key.method, key.key.clone());
        self.keys.get(&name).map(|(hash, saga)| {
            if *hash == key.payload_hash { Admission::Repeated(*saga) } else { Admission::Conflict }
        })
    }

    fn write(&mut self, writes: Vec<Write>) {
        for Write { before, saga, history } in writes {
            let stored = self.sagas.get(&saga.id).map_or(0, |saga| saga.version);
            assert_eq!(stored, before, "a decision rests on the row");
            for entry in history {
                assert!(self.history.insert((saga.id, entry.version), entry).is_none());
            }
            self.sagas.insert(saga.id, saga);
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp(i64::try_from(since.as_micros()).expect("before the year 292277"))
}

impl SagaStore for Memory {
    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        let mut rows = self.open()?;
        let (mut admissions, mut new) = (Vec::new(), Vec::new());
        for (index, key) in keys.iter().enumerate() {
            admissions.push(rows.known(key).unwrap_or_else(|| {
                let name = (key.caller.clone(), key.method, key.key.clone());
                rows.keys.insert(name, (key.payload_hash.clone(), key.saga));
                new.push(index);
                Admission::New
            }));
        }
        let mut decided = None;
        if !new.is_empty() {
            let (writes, result) = decide(now(), &new);
            rows.write(writes);
            decided = Some(result);
        }
        Ok((admissions, decided))
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        let rows = self.open()?;
        let known = |key: &IdempotencyKey| rows.known(key);
        Ok(keys.iter().map(known).collect())
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let mut rows = self.open()?;
        let sagas = ids.iter().filter_map(|id| rows.sagas.get(id).cloned()).collect();
        let (writes, result) = decide(now(), sagas);
        rows.write(writes);
        Ok(result)
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let mut rows = self.open()?;
        let now = now();
        let hosted = |saga: &&Instance| {
            definitions.contains(&(leak(&saga.definition), saga.definition_version))
        };
        let due = |saga: &&Instance| saga.wake_at.is_some_and(|at| at <= now);
        let sagas = rows.sagas.values().filter(due).filter(hosted).take(limit).cloned().collect();
        let (writes, result) = decide(now, sagas);
        rows.write(writes);
        Ok(result)
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        let mut rows = self.open()?;
        for message in messages {
            let NewQuarantined { id, reason, from, reply_to, body } = message.clone();
            let (at, state) = (now(), QuarantineState::Open);
            let first = Quarantined {
                id: id.clone(),
                version: 0,
                state,
                reason,
                from,
                reply_to,
                body,
                first_seen: at,
                last_seen: at,
                copies: 0,
                acts: Vec::new(),
            };
            let known = rows.quarantine.entry(id).or_insert(first);
            (known.version, known.copies) = (known.version + 1, known.copies + 1);
            (known.last_seen, known.state) = (at, state);
        }
        Ok(())
    }

    async fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let mut rows = self.open()?;
        let found = rows.quarantine.get(message).cloned();
        let saga = saga.and_then(|id| rows.sagas.get(&id).cloned());
        let (settled, result) = decide(Inspected {
            now: now(),
            watermark: rows.watermark,
            message: found.clone(),
            saga,
        });
        if let Some(Handled { state, signed, sent, write }) = settled {
            rows.write(write.into_iter().collect());
            let mut found = found.expect("only what is there is settled");
            found.version += 1;
            found.state = state;
            found.acts.push(Act { version: found.version, at: now(), state, signed, sent });
            rows.quarantine.insert(message.to_owned(), found);
        }
        Ok(result)
    }
}

/// Turns a definition's name into a `&'static str`. Tests use only a few names.
fn leak(name: &str) -> &'static str {
    if name == "place-order" { "place-order" } else { "another" }
}

impl SagaReads for Memory {
    async fn find(&self, ids: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        let rows = self.open()?;
        Ok(ids.iter().filter_map(|id| rows.sagas.get(id).cloned()).collect())
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        let found = self.find(ids).await?;
        Ok(found.iter().map(|saga| (saga.id, saga.version, saga.ended().is_some())).collect())
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        let rows = self.open()?;
        Ok(rows.history.range((id, after + 1)..=(id, u64::MAX)).map(|(_, e)| e.clone()).collect())
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        let rows = self.open()?;
        let latest = filter.older_than_millis.map(|millis| now().0 - millis as i64 * 1_000);
        let wanted = |saga: &&Instance| {
            latest.is_none_or(|latest| saga.started_at.0 <= latest) && filter.picks(saga)
        };
        Ok(rows.sagas.values().rev().filter(wanted).take(filter.limit).cloned().collect())
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        let rows = self.open()?;
        Ok(rows.sagas.values().filter(|saga| saga.ended().is_none()).count() as u64)
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        let rows = self.open()?;
        let latest = filter.older_than_millis.map(|millis| now().0 - millis as i64 * 1_000);
        let wanted = |message: &&Quarantined| {
            filter.id.as_ref().is_none_or(|id| message.id == *id)
                && filter.saga.is_none_or(|saga| message.id.starts_with(&format!("{saga}/")))
                && filter.from.as_ref().is_none_or(|from| message.from.contains(from))
                && filter.reason.as_ref().is_none_or(|reason| message.reason.contains(reason))
                && filter.state.is_none_or(|state| message.state == state)
                && latest.is_none_or(|latest| message.first_seen.0 <= latest)
                && filter
                    .after
                    .as_ref()
                    .is_none_or(|(at, id)| (message.first_seen.0, &message.id) < (at.0, id))
        };
        let mut found: Vec<Quarantined> =
            rows.quarantine.values().filter(wanted).cloned().collect();
        found.sort_by(|a, b| (b.first_seen.0, &b.id).cmp(&(a.first_seen.0, &a.id)));
        found.truncate(filter.limit);
        Ok(found)
    }

    async fn census(&self) -> Result<Census, Failure> {
        Ok(Census::default())
    }
}

/// Deletes nothing, because tests are shorter than any retention.
impl Retention for Memory {
    async fn advance(&self, _: u64) -> Result<Horizon, Failure> {
        Ok(Horizon { watermark: Watermark::NONE, now: now(), oldest: None })
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        Ok(Watermark::NONE)
    }

    async fn prune(&self, _: &Range) -> Result<Pruned, Failure> {
        Ok(Pruned::default())
    }
}
