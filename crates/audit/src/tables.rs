//! Lists the columns and tables that are copied. They also define the scratch database's schema.

use rusqlite::types::Value;

use crate::Database;

/// What to copy of one table. Tables of several databases may go into one scratch table.
#[derive(Debug)]
pub struct Table {
    /// The database that the table is in.
    pub database: Database,
    /// The table's name in the scratch database.
    name: &'static str,
    /// The table's name in its own database.
    pub source: &'static str,
    /// Columns grouped by their kind, listed as in SQL: `<column>` or `<expression> AS <column>`.
    /// The SQL must be valid in every dialect.
    columns: &'static [(Kind, &'static str)],
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The column's name in the scratch database.
    name: &'static str,
    /// The expression that reads the column in the table's own database.
    pub expression: &'static str,
    /// How the column's values are copied.
    pub kind: Kind,
}

/// How a value is copied into the scratch database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UUID. It is copied as text, in the form that people write.
    Id,
    /// Text, copied unchanged.
    Text,
    /// An integer, copied unchanged.
    Integer,
    /// Bytes, copied as hexadecimal text.
    Bytes,
    /// A recorded answer in JSON. Only its outcome is copied.
    Outcome,
}

use Kind::{Bytes, Id, Integer, Outcome, Text};

/// All tables that are copied.
pub const TABLES: &[Table] = &[
    // States: 1 running, 2 compensating, 3 completed, 4 compensated, 5 stuck. `wakes` is 1
    // if the saga is to be looked at again, and `ended` is 1 if its row has an end time.
    Table {
        database: Database::Orchestrator,
        name: "sagas",
        source: "sagas",
        columns: &[
            (Id, "id"),
            (Text, "definition, caller, progress"),
            (Integer, "definition_version, state, version"),
            (Integer, "CASE WHEN wake_at IS NULL THEN 0 ELSE 1 END AS wakes"),
            (Integer, "CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END AS ended"),
        ],
    },
    Table {
        database: Database::Orchestrator,
        name: "history",
        source: "saga_history",
        columns: &[(Id, "saga_id"), (Integer, "version, state"), (Text, "caller, entry")],
    },
    Table {
        database: Database::Orchestrator,
        name: "keys",
        source: "idempotency_keys",
        columns: &[(Text, "caller, method, key"), (Bytes, "payload_hash"), (Id, "saga_id")],
    },
    // States: 1 open, 2 re-driven, 3 discarded.
    Table {
        database: Database::Orchestrator,
        name: "quarantine",
        source: "quarantine",
        columns: &[(Text, "id, reason, from_queue"), (Integer, "state")],
    },
    // The watermark of each database: sagas with a smaller id have ended, and may be deleted.
    Table {
        database: Database::Orchestrator,
        name: "watermarks",
        source: "saga_watermark",
        columns: &[(Text, "'orchestrator' AS service"), (Id, "below")],
    },
    Table {
        database: Database::Order,
        name: "watermarks",
        source: "inbox_watermark",
        columns: &[(Text, "'order' AS service"), (Id, "below")],
    },
    Table {
        database: Database::Inventory,
        name: "watermarks",
        source: "inbox_watermark",
        columns: &[(Text, "'inventory' AS service"), (Id, "below")],
    },
    Table {
        database: Database::Payment,
        name: "watermarks",
        source: "inbox_watermark",
        columns: &[(Text, "'payment' AS service"), (Id, "below")],
    },
    // The commands that a participant has received (as a hash), and its answers: `done`,
    // `refused`, or none yet.
    Table {
        database: Database::Order,
        name: "inbox",
        source: "inbox",
        columns: &inbox("'order' AS service"),
    },
    Table {
        database: Database::Inventory,
        name: "inbox",
        source: "inbox",
        columns: &inbox("'inventory' AS service"),
    },
    Table {
        database: Database::Payment,
        name: "inbox",
        source: "inbox",
        columns: &inbox("'payment' AS service"),
    },
    // Statuses: 1 pending, 2 confirmed, 3 rejected, 4 cancelled.
    Table {
        database: Database::Order,
        name: "orders",
        source: "orders",
        columns: &[
            (Id, "order_id AS id"),
            (Text, "caller, currency"),
            (Integer, "status, total, refunded"),
        ],
    },
    Table {
        database: Database::Order,
        name: "order_lines",
        source: "order_lines",
        columns: &[
            (Id, "order_id"),
            (Integer, "line_no, quantity, unit_price, held, returned"),
            (Text, "sku"),
        ],
    },
    // States: 1 open, 2 done, 3 rejected.
    Table {
        database: Database::Order,
        name: "returns",
        source: "returns",
        columns: &[(Id, "return_id AS id, order_id"), (Integer, "state, amount")],
    },
    Table {
        database: Database::Order,
        name: "return_lines",
        source: "return_lines",
        columns: &[(Id, "return_id"), (Integer, "line_no, quantity")],
    },
    Table {
        database: Database::Inventory,
        name: "products",
        source: "products",
        columns: &[(Text, "sku"), (Integer, "received, available, reserved, sold")],
    },
    Table {
        database: Database::Inventory,
        name: "reservations",
        source: "reservations",
        columns: &[
            (Id, "saga_id"),
            (Text, "sku, currency, state"),
            (Integer, "quantity, unit_price, returned"),
        ],
    },
    Table {
        database: Database::Inventory,
        name: "movements",
        source: "movements",
        columns: &[
            (Text, "sku, kind, receipt_key"),
            (Integer, "quantity"),
            (Id, "saga_id, order_id"),
        ],
    },
    Table {
        database: Database::Inventory,
        name: "receipts",
        source: "receipts",
        columns: &[(Text, "idempotency_key AS key, sku"), (Integer, "quantity")],
    },
    Table {
        database: Database::Payment,
        name: "payments",
        source: "payments",
        columns: &[
            (Id, "order_id"),
            (Integer, "amount, refunded"),
            (Text, "currency, status, provider_id"),
        ],
    },
    Table {
        database: Database::Payment,
        name: "payment_ledger",
        source: "payment_ledger",
        columns: &[(Id, "saga_id, order_id"), (Text, "kind, currency"), (Integer, "amount")],
    },
    Table {
        database: Database::Payment,
        name: "refunds",
        source: "refunds",
        columns: &[(Id, "saga_id, order_id"), (Integer, "amount"), (Text, "currency, state")],
    },
    // The provider's idempotency keys are our commands' ids: <saga>/<step>/<direction>.
    Table {
        database: Database::Provider,
        name: "provider_payments",
        source: "payments",
        columns: &[
            (Text, "id, reference, currency, status, idempotency_key AS key"),
            (Integer, "amount"),
        ],
    },
    Table {
        database: Database::Provider,
        name: "provider_ledger",
        source: "ledger",
        columns: &[
            (Text, "payment_id, kind, currency, idempotency_key AS key"),
            (Integer, "amount"),
        ],
    },
];

/// What `saga reconcile` reads beside [`TABLES`]: the answers themselves, and what makes up an order.
/// The audit has no use for it.
pub const PARTICULARS: &[Table] = &[
    Table { database: Database::Order, name: "spoken", source: "inbox", columns: &SPOKEN },
    Table { database: Database::Inventory, name: "spoken", source: "inbox", columns: &SPOKEN },
    Table { database: Database::Payment, name: "spoken", source: "inbox", columns: &SPOKEN },
    Table {
        database: Database::Order,
        name: "customers",
        source: "orders",
        columns: &[(Id, "order_id"), (Text, "customer, reason")],
    },
    Table {
        database: Database::Order,
        name: "return_reasons",
        source: "returns",
        columns: &[(Id, "return_id"), (Text, "reason")],
    },
];

const SPOKEN: [(Kind, &str); 3] = [
    (Id, "saga_id"),
    (Text, "step, action_answer, compensation_answer"),
    (Bytes, "action_hash, compensation_hash"),
];

const fn inbox(service: &'static str) -> [(Kind, &'static str); 5] {
    [
        (Text, service),
        (Id, "saga_id"),
        (Text, "step"),
        (Bytes, "action_hash, compensation_hash"),
        (Outcome, "action_answer AS action_outcome, compensation_answer AS compensation_outcome"),
    ]
}

impl Table {
    /// Returns the columns in the order in which [`Scratch::put`](crate::Scratch::put) takes their
    /// values.
    pub fn columns(&self) -> impl Iterator<Item = Column> {
        let listed =
            self.columns.iter().flat_map(|(kind, list)| list.split(", ").map(move |c| (*kind, c)));
        listed.map(|(kind, column)| {
            let (expression, name) = column.split_once(" AS ").unwrap_or((column, column));
            Column { name, expression, kind }
        })
    }

    /// Returns the statement that creates the table in the scratch database. It has no constraints,
    /// so that the audit also finds rows that break the constraints of their own database.
    pub(crate) fn create(&self) -> String {
        let columns = self.columns().map(|Column { name, kind, .. }| match kind {
            Integer => format!("{name} INTEGER"),
            Id | Text | Bytes | Outcome => format!("{name} TEXT"),
        });
        let columns: Vec<String> = columns.collect();
        format!("CREATE TABLE IF NOT EXISTS {} ({})", self.name, columns.join(", "))
    }

    /// Returns the statement that inserts a row into the table in the scratch database.
    #[must_use]
    pub fn insert(&self) -> String {
        let names: Vec<&str> = self.columns().map(|column| column.name).collect();
        let marks = vec!["?"; names.len()].join(", ");
        format!("INSERT INTO {} ({}) VALUES ({marks})", self.name, names.join(", "))
    }
}

impl Kind {
    /// Extracts the outcome from a recorded answer. If the answer cannot be parsed, the outcome is
    /// a text that is not equal to any valid outcome.
    #[must_use]
    pub fn outcome(answer: &str) -> Value {
        #[derive(serde::Deserialize)]
        struct Answer {
            outcome: String,
        }
        let answer: Result<Answer, _> = serde_json::from_str(answer);
        Value::Text(answer.map_or_else(|_| "unreadable".to_owned(), |answer| answer.outcome))
    }
}
