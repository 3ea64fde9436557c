//! The ledger in SQLite: loads a payment, applies the rule, writes the effect and the recorded
//! answer. All that one call to [`Ledger::apply`] writes commits together or not at all.

use std::path::Path;

use rusqlite::{CachedStatement, Connection, params};
use saga_core::Failure;
use saga_sqlite::{Clock, Database, OpenError, Schema};
use uuid::Uuid;

use crate::{
    error::RunError,
    records::{Answer, payment, payment_body, recorded, refund_body},
    request::{Request, Submission},
    rule::{self, Effect, Entry, OnCapture, Payment, Refusal, State},
    tokens::Behaviour,
};

/// Name of the ledger's file in the data directory.
const FILE_NAME: &str = "provider.sqlite";

/// The ledger's tables. The script explains what each of them holds.
const SCHEMA: Schema = Schema {
    application_id: i32::from_be_bytes(*b"SAGP"),
    scripts: &[include_str!("../schema/ledger_1.sql")],
};

/// The ledger's database, and the settings that its answers depend on.
pub(crate) struct Ledger {
    database: Database,
    down_attempts: u32,
    ids: Ids,
}

/// Creates the ids of payments and refunds.
pub(crate) type Ids = Box<dyn Fn() -> Uuid + Send + Sync>;

/// The results of a submission. They are returned only after the writes are committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request was decided now.
    Answered(Answer),
    /// The request was decided earlier under the same key. This is the recorded answer.
    Replayed(Answer),
    /// The request was decided and recorded now, but the answer must not be sent.
    AnswerLost,
    /// The key was used for another request.
    KeyReused,
    /// The token asks for an outage. Nothing was decided: only the attempt was counted.
    Down,
}

/// Formats the body of an error, whether it is recorded or not.
pub(crate) fn error_body(code: &str, message: &str) -> String {
    serde_json::json!({ "error": { "code": code, "message": message } }).to_string()
}

impl Ledger {
    /// Opens the ledger in `data_dir`. Creates the directory, the file and its tables if they are
    /// missing.
    pub(crate) fn open(data_dir: &Path, down_attempts: u32) -> Result<Self, RunError> {
        std::fs::create_dir_all(data_dir)
            .map_err(|reason| RunError::DataDirectory { path: data_dir.to_owned(), reason })?;
        let database = Database::open(&data_dir.join(FILE_NAME), &SCHEMA, Clock::system())?;
        Ok(Self { database, down_attempts, ids: Box::new(Uuid::now_v7) })
    }

    /// Creates a ledger in memory. It is gone when the last clone of its database is dropped.
    pub(crate) fn in_memory(down_attempts: u32, ids: Ids, clock: Clock) -> Result<Self, OpenError> {
        Ok(Self { database: Database::in_memory(&SCHEMA, clock)?, down_attempts, ids })
    }

    /// Returns the database, for code that only reads.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Applies the submissions in the given order, in one transaction.
    pub(crate) async fn apply(&self, submissions: &[&Submission]) -> Result<Vec<Outcome>, Failure> {
        let (down_attempts, ids) = (self.down_attempts, &self.ids);
        let outcomes = self.database.write(|tx| {
            let turn = Turn { connection: tx, now_ms: tx.now().0 / 1_000, down_attempts, ids };
            submissions.iter().map(|submission| turn.apply(submission)).collect()
        });
        outcomes.await
    }
}

/// One transaction at one instant, in which submissions are applied.
struct Turn<'a> {
    connection: &'a Connection,
    now_ms: i64,
    down_attempts: u32,
    ids: &'a Ids,
}

impl Turn<'_> {
    fn apply(&self, submission: &Submission) -> rusqlite::Result<Outcome> {
        if let Some((hash, answer)) = recorded(self.connection, &submission.key)? {
            return Ok(if hash == submission.hash {
                Outcome::Replayed(answer)
            } else {
                Outcome::KeyReused
            });
        }
        let key = &submission.key;
        let (answer, lost) = match &submission.request {
            Request::Create { amount, currency, reference, behaviour } => {
                if *behaviour == Behaviour::Down
                    && self.count_attempt(key)? <= i64::from(self.down_attempts)
                {
                    return Ok(Outcome::Down);
                }
                let (effect, on_capture) = rule::authorise(*amount, *behaviour);
                let payment = Payment {
                    id: format!("pay_{}", (self.ids)().simple()),
                    reference: reference.clone(),
                    amount: *amount,
                    currency: currency.clone(),
                    state: effect.after,
                    on_capture,
                };
                self.insert_payment(key, &payment)?;
                self.insert_entry(key, &payment, effect.entry)?;
                (
                    Answer { status: 201, body: payment_body(&payment)? },
                    *behaviour == Behaviour::AnswerLost,
                )
            }
            Request::Capture { payment, amount } => self.change(
                key,
                payment,
                |payment| rule::capture(payment, *amount),
                |payment| {
                    Ok((
                        Answer { status: 200, body: payment_body(payment)? },
                        payment.on_capture == OnCapture::LoseAnswer,
                    ))
                },
            )?,
            Request::Cancel { payment } => self.change(key, payment, rule::cancel, |payment| {
                Ok((Answer { status: 200, body: payment_body(payment)? }, false))
            })?,
            Request::Refund { payment, amount } => self.change(
                key,
                payment,
                |payment| rule::refund(payment, *amount),
                |payment| {
                    Ok((
                        Answer { status: 201, body: refund_body(payment, *amount, (self.ids)())? },
                        false,
                    ))
                },
            )?,
        };
        self.record(submission, &answer)?;
        Ok(if lost { Outcome::AnswerLost } else { Outcome::Answered(answer) })
    }

    /// Loads a payment, decides, and saves the result. Returns the answer, and true if the answer
    /// must not be sent. A refusal is always sent.
    fn change(
        &self,
        key: &str,
        id: &str,
        decide: impl FnOnce(&Payment) -> Result<Effect, Refusal>,
        answer: impl FnOnce(&Payment) -> rusqlite::Result<(Answer, bool)>,
    ) -> rusqlite::Result<(Answer, bool)> {
        let Some(mut payment) = payment(self.connection, id)? else {
            return Ok((
                Answer {
                    status: 404,
                    body: error_body("payment_not_found", "there is no such payment"),
                },
                false,
            ));
        };
        match decide(&payment) {
            Ok(effect) => {
                self.save_state(&payment, effect.after)?;
                self.insert_entry(key, &payment, effect.entry)?;
                payment.state = effect.after;
                answer(&payment)
            }
            Err(refusal) => Ok((
                Answer { status: 409, body: error_body(refusal.code(), &refusal.to_string()) },
                false,
            )),
        }
    }

    fn insert_payment(&self, key: &str, payment: &Payment) -> rusqlite::Result<()> {
        self.statement(
            "INSERT INTO payments (id, reference, amount, currency, status, decline_code, on_capture, idempotency_key, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            payment.id,
            payment.reference,
            payment.amount,
            payment.currency,
            payment.state.name(),
            payment.state.decline_code(),
            payment.on_capture.name(),
            key,
            self.now_ms,
        ])?;
        Ok(())
    }

    fn save_state(&self, payment: &Payment, after: State) -> rusqlite::Result<()> {
        if payment.state.name() != after.name() {
            self.statement("UPDATE payments SET status = ?2 WHERE id = ?1")?
                .execute(params![payment.id, after.name()])?;
        }
        Ok(())
    }

    fn insert_entry(
        &self,
        key: &str,
        payment: &Payment,
        entry: Option<Entry>,
    ) -> rusqlite::Result<()> {
        if let Some(Entry { kind, amount }) = entry {
            self.statement(
                "INSERT INTO ledger (payment_id, kind, amount, currency, idempotency_key, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![payment.id, kind.name(), amount, payment.currency, key, self.now_ms])?;
        }
        Ok(())
    }

    fn record(&self, submission: &Submission, answer: &Answer) -> rusqlite::Result<()> {
        self.statement("INSERT INTO operations (idempotency_key, request_hash, status, body, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![submission.key, submission.hash, answer.status, answer.body, self.now_ms])?;
        Ok(())
    }

    fn count_attempt(&self, key: &str) -> rusqlite::Result<i64> {
        self.statement(
            "INSERT INTO attempts (idempotency_key, count) VALUES (?1, 1)
             ON CONFLICT (idempotency_key) DO UPDATE SET count = count + 1 RETURNING count",
        )?
        .query_row([key], |row| row.get(0))
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
