//! What the databases say differently after one of them went back: it was restored from a backup,
//! or a failover has lost its last commits. `saga reconcile` brings together what can be brought
//! together, and names the rest.

use std::collections::BTreeMap;

use rusqlite::{Connection, Result, Row};

use crate::scratch::Books;

/// All that the databases say differently.
#[derive(Clone, Debug, Default)]
pub struct Divergences {
    /// Sagas of which participants know more than the orchestrator.
    pub ahead: Vec<Ahead>,
    /// Answers that participants have forgotten, in the order in which the sagas got them.
    pub lost: Vec<Lost>,
    /// Payments at the provider for sagas of which no database has kept anything.
    pub strays: Vec<Stray>,
    /// Sagas that were begun again only to be undone, because nobody knows their order.
    pub orderless: Vec<String>,
}

/// A saga of which participants know more than the orchestrator.
#[derive(Clone, Debug)]
pub struct Ahead {
    /// The saga's id.
    pub saga: String,
    /// True if the orchestrator knows the saga.
    pub known: bool,
    /// What participants have on record, by step.
    pub records: BTreeMap<String, Record>,
    /// The order with this id, if the order service has it.
    pub order: Option<Order>,
    /// The return with this id, if the order service has it.
    pub returned: Option<Return>,
}

/// A participant's record of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What is recorded of the action.
    pub action: Half,
    /// What is recorded of the compensation.
    pub compensation: Half,
}

/// What is recorded of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Half {
    /// The command has not come.
    #[default]
    None,
    /// The command has come, and its answer is not known.
    Begun,
    /// The recorded answer, as JSON.
    Answered(String),
}

/// An order, as the order service has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The caller who placed it.
    pub caller: String,
    /// The customer.
    pub customer: String,
    /// The client's reason, if it is CANCELLED.
    pub cancelled: Option<String>,
    /// What was paid, and its currency, if it is CONFIRMED.
    pub paid: Option<(i64, String)>,
    /// The lines, in their order.
    pub lines: Vec<Line>,
}

/// One line of an order, or of a return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Stock keeping unit.
    pub sku: String,
    /// Number of pieces.
    pub quantity: i64,
    /// Price of one piece, if the order is CONFIRMED.
    pub unit_price: Option<i64>,
}

/// A return, as the order service has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The order of which something is returned.
    pub order: String,
    /// The caller who placed that order.
    pub caller: String,
    /// The client's reason.
    pub reason: String,
    /// What is returned.
    pub lines: Vec<Line>,
}

/// An answer that the participant who gave it has not on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The saga's id.
    pub saga: String,
    /// Name of the saga's definition.
    pub definition: String,
    /// The participant.
    pub service: String,
    /// The step.
    pub step: String,
    /// `action` or `compensation`.
    pub direction: String,
    /// How the answer is lost.
    pub how: LostHow,
}

/// How an answer is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostHow {
    /// The command was done, and its participant knows nothing of it: it can be asked again.
    Forgotten,
    /// The command was done and undone, and only the undoing is on record. It cannot be done again.
    Undone,
    /// The command was refused, and its participant knows nothing of it. Nothing is missing.
    Refusal,
    /// The participant has another answer on record, with this code if it is a refusal.
    Contradicted(String),
}

/// Caller of a saga that was begun again, if nobody knows who it was.
pub const NOBODY: &str = "saga-reconcile";

/// A payment at the provider for a saga of which no database has kept anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The saga's id, which is the order's.
    pub saga: String,
    /// The provider's id for the payment.
    pub payment: String,
    /// The provider's word for its state.
    pub status: String,
    /// The amount in minor units.
    pub amount: i64,
    /// Its currency.
    pub currency: String,
}

impl Books {
    /// Finds what the databases say differently. The books must have been collected with
    /// [`PARTICULARS`](crate::PARTICULARS), and once only.
    ///
    /// # Errors
    /// If the scratch database cannot be used.
    pub fn divergences(&self) -> Result<Divergences> {
        let books = &self.0;
        books.execute_batch(include_str!("divergence.sql"))?;
        Ok(Divergences {
            ahead: ahead(books)?,
            lost: lost(books)?,
            strays: strays(books)?,
            orderless: orderless(books)?,
        })
    }
}

fn ahead(books: &Connection) -> Result<Vec<Ahead>> {
    let mut sagas = books.prepare("SELECT id, known FROM ahead ORDER BY id")?;
    let sagas = sagas.query_map([], |row| {
        let saga: String = row.get(0)?;
        Ok(Ahead {
            known: row.get(1)?,
            records: records(books, &saga)?,
            order: order(books, &saga)?,
            returned: returned(books, &saga)?,
            saga,
        })
    })?;
    sagas.collect()
}

fn records(books: &Connection, saga: &str) -> Result<BTreeMap<String, Record>> {
    let mut records = books.prepare_cached(
        "SELECT step, action_hash, action_answer, compensation_hash, compensation_answer
         FROM spoken WHERE saga_id = ?1",
    )?;
    let records = records.query_map([saga], |row| {
        let record = Record { action: half(row, 1)?, compensation: half(row, 3)? };
        Ok((row.get(0)?, record))
    })?;
    records.collect()
}

fn half(row: &Row<'_>, hash: usize) -> Result<Half> {
    let (hash, answer): (Option<String>, Option<String>) = (row.get(hash)?, row.get(hash + 1)?);
    Ok(match (hash, answer) {
        (None, _) => Half::None,
        (Some(_), None) => Half::Begun,
        (Some(_), Some(answer)) => Half::Answered(answer),
    })
}

fn order(books: &Connection, id: &str) -> Result<Option<Order>> {
    let mut orders = books.prepare_cached(
        "SELECT o.caller, c.customer, CASE o.status WHEN 4 THEN coalesce(c.reason, '') END,
                CASE o.status WHEN 2 THEN o.total END, coalesce(o.currency, '')
         FROM orders o JOIN customers c ON c.order_id = o.id WHERE o.id = ?1",
    )?;
    let mut orders = orders.query_map([id], |row| {
        let (paid, currency): (Option<i64>, String) = (row.get(3)?, row.get(4)?);
        Ok(Order {
            caller: row.get(0)?,
            customer: row.get(1)?,
            cancelled: row.get(2)?,
            paid: paid.map(|paid| (paid, currency)),
            lines: lines(
                books,
                "SELECT sku, quantity, unit_price FROM order_lines WHERE order_id = ?1 ORDER BY line_no",
                id,
            )?,
        })
    })?;
    orders.next().transpose()
}

fn returned(books: &Connection, id: &str) -> Result<Option<Return>> {
    let mut returns = books.prepare_cached(
        "SELECT r.order_id, o.caller, w.reason
         FROM returns r JOIN orders o ON o.id = r.order_id
         JOIN return_reasons w ON w.return_id = r.id WHERE r.id = ?1",
    )?;
    let mut returns = returns.query_map([id], |row| {
        Ok(Return {
            order: row.get(0)?,
            caller: row.get(1)?,
            reason: row.get(2)?,
            lines: lines(
                books,
                "SELECT l.sku, p.quantity, l.unit_price
                 FROM return_lines p JOIN returns r ON r.id = p.return_id
                 JOIN order_lines l ON l.order_id = r.order_id AND l.line_no = p.line_no
                 WHERE p.return_id = ?1 ORDER BY p.line_no",
                id,
            )?,
        })
    })?;
    returns.next().transpose()
}

fn lines(books: &Connection, sql: &str, id: &str) -> Result<Vec<Line>> {
    let mut lines = books.prepare_cached(sql)?;
    let lines = lines.query_map([id], |row| {
        Ok(Line { sku: row.get(0)?, quantity: row.get(1)?, unit_price: row.get(2)? })
    })?;
    lines.collect()
}

fn lost(books: &Connection) -> Result<Vec<Lost>> {
    let mut lost = books.prepare(
        "SELECT saga_id, definition, service, step, direction, how, coalesce(code, '')
         FROM lost ORDER BY saga_id, version",
    )?;
    let lost = lost.query_map([], |row| {
        let how: String = row.get(5)?;
        Ok(Lost {
            saga: row.get(0)?,
            definition: row.get(1)?,
            service: row.get(2)?,
            step: row.get(3)?,
            direction: row.get(4)?,
            how: match how.as_str() {
                "forgotten" => LostHow::Forgotten,
                "undone" => LostHow::Undone,
                "refusal" => LostHow::Refusal,
                _ => LostHow::Contradicted(row.get(6)?),
            },
        })
    })?;
    lost.collect()
}

fn strays(books: &Connection) -> Result<Vec<Stray>> {
    let mut strays = books
        .prepare("SELECT saga_id, id, status, amount, currency FROM strays ORDER BY saga_id, id")?;
    let strays = strays.query_map([], |row| {
        Ok(Stray {
            saga: row.get(0)?,
            payment: row.get(1)?,
            status: row.get(2)?,
            amount: row.get(3)?,
            currency: row.get(4)?,
        })
    })?;
    strays.collect()
}

fn orderless(books: &Connection) -> Result<Vec<String>> {
    let mut sagas = books.prepare(
        "SELECT id FROM sagas WHERE caller = ?1 AND definition = 'place-order' ORDER BY id",
    )?;
    let sagas = sagas.query_map([NOBODY], |row| row.get(0))?;
    sagas.collect()
}
