//! Which rows the sagas of a batch write, in which transaction.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::rows::{Column, Table, Tables, Value};

/// Whose database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Orchestrator,
    Order,
    Inventory,
    Payment,
}

/// Which of a table's rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Only {
    All,
    /// Those where this column holds one of these texts.
    Is(&'static str, &'static [&'static str]),
    /// Those where this column holds anything.
    Has(&'static str),
}

/// Something that is written for every saga of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Insert(&'static str, Only),
    Update {
        table: &'static str,
        only: Only,
        set: &'static [&'static str],
        key: &'static [&'static str],
    },
    /// A new saga, with its first row of history.
    Admit,
    /// A saga's row as of this version, and that version's row of history.
    Turn(i64),
    /// The last turn: whatever comes after [`LAST_SINGLE_TURN`].
    LastTurn,
    /// The products' levels as the reservations move them, one row a product.
    Reserve,
    Close,
}

/// One transaction of a batch.
pub(super) struct Transaction {
    pub(super) role: Role,
    pub(super) writes: &'static [Write],
}

/// Turns up to this version are written one by one, later ones in one update.
const LAST_SINGLE_TURN: i64 = 5;
/// What a turn changes of a saga's row.
const TURN: &[&str] = &["state", "version", "progress", "data", "wake_at", "ended_at"];
const INBOX: &[&str] = &["saga_id", "step"];

/// The ten transactions of a batch: one a step at its participant (intent and settlement of a payment share it), and
/// four of the orchestrator's, which would be six if it could not take replies of several steps at once.
pub(super) const TRANSACTIONS: [Transaction; 10] = {
    use Only::{All, Has, Is};
    use Role::{Inventory, Orchestrator, Order, Payment};
    use Write::{Admit, Close, Insert, LastTurn, Reserve, Turn, Update};
    const fn tx(role: Role, writes: &'static [Write]) -> Transaction {
        Transaction { role, writes }
    }
    const fn step(step: &'static [&'static str]) -> Write {
        Insert("inbox", Is("step", step))
    }
    const fn settled(step: &'static [&'static str]) -> Write {
        Update { table: "inbox", only: Is("step", step), set: &["action_answer"], key: INBOX }
    }
    const UNDONE: Write = Update {
        table: "inbox",
        only: Has("compensation_hash"),
        set: &["compensation_hash", "compensation_answer"],
        key: INBOX,
    };
    const PAID: &[&str] = &["status", "provider_id", "decline_code", "updated_at"];
    [
        tx(Orchestrator, &[Insert("idempotency_keys", All), Admit]),
        tx(Order, &[step(&["create-order"]), Insert("orders", All), Insert("order_lines", All)]),
        tx(Orchestrator, &[Turn(2), Turn(3)]),
        tx(
            Inventory,
            &[
                step(&["reserve-stock"]),
                Insert("reservations", All),
                Insert("movements", Is("kind", &["reserved"])),
                Reserve,
            ],
        ),
        tx(
            Payment,
            &[
                step(&["authorise-payment"]),
                Insert("payments", All),
                settled(&["authorise-payment"]),
                Update { table: "payments", only: All, set: PAID, key: &["order_id"] },
                Insert("payment_ledger", Is("kind", &["authorised", "declined"])),
            ],
        ),
        tx(Orchestrator, &[Turn(4), Turn(5)]),
        tx(
            Payment,
            &[
                step(&["capture-payment"]),
                settled(&["capture-payment"]),
                Update {
                    table: "payments",
                    only: Is("status", &["captured"]),
                    set: PAID,
                    key: &["order_id"],
                },
                Insert("payment_ledger", Is("kind", &["captured"])),
            ],
        ),
        tx(
            Inventory,
            &[
                step(&["commit-stock"]),
                UNDONE,
                Update {
                    table: "reservations",
                    only: All,
                    set: &["state"],
                    key: &["saga_id", "sku"],
                },
                Insert("movements", Is("kind", &["committed", "released"])),
                Close,
            ],
        ),
        tx(
            Order,
            &[
                step(&["confirm-order"]),
                UNDONE,
                Update {
                    table: "orders",
                    only: All,
                    set: &[
                        "status",
                        "reason_code",
                        "reason",
                        "currency",
                        "total",
                        "updated_at",
                        "ended_at",
                    ],
                    key: &["order_id"],
                },
                Update {
                    table: "order_lines",
                    only: Has("unit_price"),
                    set: &["unit_price"],
                    key: &["order_id", "line_no"],
                },
            ],
        ),
        tx(Orchestrator, &[LastTurn]),
    ]
};

/// The tables that are read, and the column with the saga's id.
pub(super) const TABLES: [(Role, &str, &str); 13] = [
    (Role::Orchestrator, "sagas", "id"),
    (Role::Orchestrator, "saga_history", "saga_id"),
    (Role::Orchestrator, "idempotency_keys", "saga_id"),
    (Role::Order, "inbox", "saga_id"),
    (Role::Order, "orders", "order_id"),
    (Role::Order, "order_lines", "order_id"),
    (Role::Inventory, "inbox", "saga_id"),
    (Role::Inventory, "reservations", "saga_id"),
    (Role::Inventory, "movements", "saga_id"),
    (Role::Payment, "inbox", "saga_id"),
    (Role::Payment, "payments", "order_id"),
    (Role::Payment, "payment_ledger", "order_id"),
    (Role::Payment, "refunds", "order_id"),
];

/// What a statement does with its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Insert,
    /// The first columns are the key.
    Update {
        key: usize,
    },
    /// To be added to the levels of the product that the first column names.
    Move,
}

/// Rows to write into one table, column by column.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) table: &'static str,
    pub(super) action: Action,
    pub(super) columns: Vec<Column>,
    pub(super) values: Vec<Vec<Value>>,
    /// Of each row, which saga of the batch it belongs to.
    pub(super) sagas: Vec<usize>,
}

/// What the sagas of one batch write.
pub(super) struct Batch {
    pub(super) sagas: usize,
    /// Answers that its participants record: local transactions.
    pub(super) answers: usize,
    /// By transaction.
    pub(super) statements: Vec<Vec<Statement>>,
}

impl Role {
    pub(super) const ALL: [Self; 4] =
        [Self::Orchestrator, Self::Order, Self::Inventory, Self::Payment];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
        }
    }
}

impl Only {
    fn takes(self, table: &Table, row: &[Value]) -> anyhow::Result<bool> {
        Ok(match self {
            Self::All => true,
            Self::Is(column, texts) => {
                let value = &row[table.column(column)?];
                texts.iter().any(|text| value.is_text(text))
            }
            Self::Has(column) => row[table.column(column)?] != Value::Null,
        })
    }
}

impl Statement {
    pub(super) fn rows(&self) -> usize {
        self.sagas.len()
    }

    fn new(table: &'static str, action: Action, columns: Vec<Column>) -> Self {
        let values = columns.iter().map(|_| Vec::new()).collect();
        Self { table, action, columns, values, sagas: Vec::new() }
    }

    fn push(&mut self, saga: usize, row: impl IntoIterator<Item = Value>) {
        self.sagas.push(saga);
        for (column, value) in self.values.iter_mut().zip(row) {
            column.push(value);
        }
    }
}

impl Batch {
    pub(super) fn of(tables: &Tables, ids: &[Uuid]) -> anyhow::Result<Self> {
        let mut statements = Vec::new();
        for Transaction { role, writes } in &TRANSACTIONS {
            let mut all = Vec::new();
            for write in *writes {
                write.lay_out(*role, tables, ids, &mut all)?;
            }
            all.retain(|statement: &Statement| statement.rows() > 0);
            statements.push(all);
        }
        let answers = ids.iter().map(|id| answers(tables, *id)).sum::<anyhow::Result<usize>>()?;
        Ok(Self { sagas: ids.len(), answers, statements })
    }
}

impl Write {
    fn lay_out(
        self,
        role: Role,
        tables: &Tables,
        ids: &[Uuid],
        all: &mut Vec<Statement>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Insert(name, only) => {
                let table = tables.get(role.name(), name)?;
                let mut insert = Statement::new(name, Action::Insert, table.columns.clone());
                each(table, ids, only, |saga, row| insert.push(saga, row.iter().cloned()))?;
                all.push(insert);
            }
            Self::Update { table: name, only, set, key } => {
                let table = tables.get(role.name(), name)?;
                let places = places(table, key.iter().chain(set))?;
                let mut update = updating(name, table, &places, key.len());
                each(table, ids, only, |saga, row| {
                    update.push(saga, places.iter().map(|at| row[*at].clone()));
                })?;
                all.push(update);
            }
            Self::Admit => {
                let sagas = tables.get(role.name(), "sagas")?;
                let mut insert = Statement::new("sagas", Action::Insert, sagas.columns.clone());
                for (saga, id) in ids.iter().enumerate() {
                    for row in sagas.of(*id) {
                        insert.push(saga, as_of(sagas, row, 1)?);
                    }
                }
                all.push(insert);
                all.push(history(tables, ids, |version| version == 1)?);
            }
            Self::Turn(version) => {
                all.push(turn(tables, ids, |last| (last >= version).then_some(version))?);
                all.push(history(tables, ids, |of| of == version)?);
            }
            Self::LastTurn => {
                all.push(turn(tables, ids, |last| (last > LAST_SINGLE_TURN).then_some(last))?);
                all.push(history(tables, ids, |of| of > LAST_SINGLE_TURN)?);
            }
            Self::Reserve => all.push(levels(tables, ids, |_| [-1, 1, 0])?),
            Self::Close => all.push(levels(tables, ids, |state| {
                if state.is_text("committed") { [0, -1, 1] } else { [1, -1, 0] }
            })?),
        }
        Ok(())
    }
}

/// Answers that its participants have recorded.
fn answers(tables: &Tables, saga: Uuid) -> anyhow::Result<usize> {
    let mut answers = 0;
    for role in [Role::Order, Role::Inventory, Role::Payment] {
        let inbox = tables.get(role.name(), "inbox")?;
        let recorded = [inbox.column("action_answer")?, inbox.column("compensation_answer")?];
        answers += inbox
            .of(saga)
            .iter()
            .flat_map(|row| recorded.map(|column| &row[column]))
            .filter(|answer| **answer != Value::Null)
            .count();
    }
    Ok(answers)
}

fn each(
    table: &Table,
    ids: &[Uuid],
    only: Only,
    mut then: impl FnMut(usize, &[Value]),
) -> anyhow::Result<()> {
    for (saga, id) in ids.iter().enumerate() {
        for row in table.of(*id) {
            if only.takes(table, row)? {
                then(saga, row);
            }
        }
    }
    Ok(())
}

fn places<'a>(
    table: &Table,
    names: impl IntoIterator<Item = &'a &'static str>,
) -> anyhow::Result<Vec<usize>> {
    names.into_iter().map(|name| table.column(name)).collect()
}

fn updating(name: &'static str, table: &Table, places: &[usize], key: usize) -> Statement {
    let columns = places.iter().map(|at| table.columns[*at].clone()).collect();
    Statement::new(name, Action::Update { key }, columns)
}

/// The saga's rows at some version, if it came that far.
fn turn(
    tables: &Tables,
    ids: &[Uuid],
    version_of: impl Fn(i64) -> Option<i64>,
) -> anyhow::Result<Statement> {
    let table = tables.get(Role::Orchestrator.name(), "sagas")?;
    let (places, version) = (places(table, ["id"].iter().chain(TURN))?, table.column("version")?);
    let mut update = updating("sagas", table, &places, 1);
    for (saga, id) in ids.iter().enumerate() {
        for row in table.of(*id) {
            let last = row[version].number().unwrap_or_default();
            if let Some(version) = version_of(last) {
                let row = as_of(table, row, version)?;
                update.push(saga, places.iter().map(|at| row[*at].clone()));
            }
        }
    }
    Ok(update)
}

/// A saga's row as it was at a version before its end. Only what indexes and sizes depend on is taken back: that it ran,
/// and when it was to be looked at.
fn as_of(sagas: &Table, row: &[Value], version: i64) -> anyhow::Result<Vec<Value>> {
    let mut row = row.to_vec();
    let (at, state) = (sagas.column("version")?, sagas.column("state")?);
    if row[at].number() == Some(version) {
        return Ok(row);
    }
    row[at] = Value::Big(version);
    row[state] = match row[state] {
        Value::Small(_) => Value::Small(1),
        _ => Value::Big(1),
    };
    row[sagas.column("wake_at")?] = row[sagas.column("deadline")?].clone();
    row[sagas.column("ended_at")?] = Value::Null;
    Ok(row)
}

fn history(
    tables: &Tables,
    ids: &[Uuid],
    takes: impl Fn(i64) -> bool,
) -> anyhow::Result<Statement> {
    let table = tables.get(Role::Orchestrator.name(), "saga_history")?;
    let version = table.column("version")?;
    let mut insert = Statement::new("saga_history", Action::Insert, table.columns.clone());
    each(table, ids, Only::All, |saga, row| {
        if row[version].number().is_some_and(&takes) {
            insert.push(saga, row.iter().cloned());
        }
    })?;
    Ok(insert)
}

/// How the batch moves each product's available, reserved and sold: one row a product, in the order of SKUs.
fn levels(
    tables: &Tables,
    ids: &[Uuid],
    moves: impl Fn(&Value) -> [i64; 3],
) -> anyhow::Result<Statement> {
    let table = tables.get(Role::Inventory.name(), "reservations")?;
    let (sku, quantity, state) =
        (table.column("sku")?, table.column("quantity")?, table.column("state")?);
    let mut sums: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    each(table, ids, Only::All, |_, row| {
        if let (Value::Text(sku), Some(quantity)) = (&row[sku], row[quantity].number()) {
            let sum = sums.entry(sku.clone()).or_default();
            for (sum, way) in sum.iter_mut().zip(moves(&row[state])) {
                *sum += way * quantity;
            }
        }
    })?;
    let big = |name: &str| Column { name: name.to_owned(), sql_type: "bigint".to_owned() };
    let columns = vec![
        Column { name: "sku".to_owned(), sql_type: "text".to_owned() },
        big("available"),
        big("reserved"),
        big("sold"),
    ];
    let mut update = Statement::new("products", Action::Move, columns);
    for (sku, [available, reserved, sold]) in sums {
        let levels = [available, reserved, sold].map(Value::Big);
        update.push(0, [Value::Text(sku)].into_iter().chain(levels));
    }
    Ok(update)
}

#[cfg(test)]
mod tests;
