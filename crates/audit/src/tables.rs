//! Which columns of which tables are copied.

use rusqlite::types::Value;

use crate::{Database, Failure, Scratch};

/// What is copied of one table.
#[derive(Debug)]
pub struct Table {
    /// Whose it is.
    pub database: Database,
    /// Its name in the scratch database.
    pub name: &'static str,
    /// Its name where it comes from.
    pub source: &'static str,
    /// What is copied of it.
    pub columns: &'static [Column],
}

/// A column in the scratch database, the expression that it is read by, which every dialect understands, and its kind.
pub type Column = (&'static str, &'static str, Kind);

/// How a value gets into the scratch database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UUID, as text.
    Id,
    /// As it is.
    Text,
    /// As it is.
    Integer,
    /// Bytes, in hexadecimal.
    Bytes,
    /// The outcome in a recorded answer, which is JSON; the rest of it is left where it is.
    Outcome,
}

use Kind::{Bytes, Id, Integer, Outcome, Text};

/// All that is copied.
pub const TABLES: &[Table] = &[
    Table {
        database: Database::Orchestrator,
        name: "sagas",
        source: "sagas",
        columns: &[
            ("id", "id", Id),
            ("definition", "definition", Text),
            ("definition_version", "definition_version", Integer),
            ("caller", "caller", Text),
            ("state", "state", Integer),
            ("version", "version", Integer),
            ("progress", "progress", Text),
            ("wakes", "CASE WHEN wake_at IS NULL THEN 0 ELSE 1 END", Integer),
            ("ended", "CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END", Integer),
        ],
    },
    Table {
        database: Database::Orchestrator,
        name: "history",
        source: "saga_history",
        columns: &[
            ("saga_id", "saga_id", Id),
            ("version", "version", Integer),
            ("caller", "caller", Text),
            ("state", "state", Integer),
            ("entry", "entry", Text),
        ],
    },
    Table {
        database: Database::Orchestrator,
        name: "keys",
        source: "idempotency_keys",
        columns: &[
            ("caller", "caller", Text),
            ("method", "method", Text),
            ("key", "key", Text),
            ("payload_hash", "payload_hash", Bytes),
            ("saga_id", "saga_id", Id),
        ],
    },
    Table {
        database: Database::Orchestrator,
        name: "quarantine",
        source: "quarantine",
        columns: &[
            ("id", "id", Text),
            ("reason", "reason", Text),
            ("from_queue", "from_queue", Text),
            ("state", "state", Integer),
        ],
    },
    Table {
        database: Database::Orchestrator,
        name: "watermarks",
        source: "saga_watermark",
        columns: &watermark("'orchestrator'"),
    },
    Table {
        database: Database::Order,
        name: "watermarks",
        source: "inbox_watermark",
        columns: &watermark("'order'"),
    },
    Table {
        database: Database::Inventory,
        name: "watermarks",
        source: "inbox_watermark",
        columns: &watermark("'inventory'"),
    },
    Table {
        database: Database::Payment,
        name: "watermarks",
        source: "inbox_watermark",
        columns: &watermark("'payment'"),
    },
    Table { database: Database::Order, name: "inbox", source: "inbox", columns: &inbox("'order'") },
    Table {
        database: Database::Inventory,
        name: "inbox",
        source: "inbox",
        columns: &inbox("'inventory'"),
    },
    Table {
        database: Database::Payment,
        name: "inbox",
        source: "inbox",
        columns: &inbox("'payment'"),
    },
    Table {
        database: Database::Order,
        name: "orders",
        source: "orders",
        columns: &[
            ("id", "order_id", Id),
            ("caller", "caller", Text),
            ("status", "status", Integer),
            ("currency", "currency", Text),
            ("total", "total", Integer),
            ("refunded", "refunded", Integer),
        ],
    },
    Table {
        database: Database::Order,
        name: "order_lines",
        source: "order_lines",
        columns: &[
            ("order_id", "order_id", Id),
            ("line_no", "line_no", Integer),
            ("sku", "sku", Text),
            ("quantity", "quantity", Integer),
            ("unit_price", "unit_price", Integer),
            ("held", "held", Integer),
            ("returned", "returned", Integer),
        ],
    },
    Table {
        database: Database::Order,
        name: "returns",
        source: "returns",
        columns: &[
            ("id", "return_id", Id),
            ("order_id", "order_id", Id),
            ("state", "state", Integer),
            ("amount", "amount", Integer),
        ],
    },
    Table {
        database: Database::Order,
        name: "return_lines",
        source: "return_lines",
        columns: &[
            ("return_id", "return_id", Id),
            ("line_no", "line_no", Integer),
            ("quantity", "quantity", Integer),
        ],
    },
    Table {
        database: Database::Inventory,
        name: "products",
        source: "products",
        columns: &[
            ("sku", "sku", Text),
            ("received", "received", Integer),
            ("available", "available", Integer),
            ("reserved", "reserved", Integer),
            ("sold", "sold", Integer),
        ],
    },
    Table {
        database: Database::Inventory,
        name: "reservations",
        source: "reservations",
        columns: &[
            ("saga_id", "saga_id", Id),
            ("sku", "sku", Text),
            ("quantity", "quantity", Integer),
            ("unit_price", "unit_price", Integer),
            ("currency", "currency", Text),
            ("state", "state", Text),
            ("returned", "returned", Integer),
        ],
    },
    Table {
        database: Database::Inventory,
        name: "movements",
        source: "movements",
        columns: &[
            ("sku", "sku", Text),
            ("kind", "kind", Text),
            ("quantity", "quantity", Integer),
            ("saga_id", "saga_id", Id),
            ("receipt_key", "receipt_key", Text),
            ("order_id", "order_id", Id),
        ],
    },
    Table {
        database: Database::Inventory,
        name: "receipts",
        source: "receipts",
        columns: &[
            ("key", "idempotency_key", Text),
            ("sku", "sku", Text),
            ("quantity", "quantity", Integer),
        ],
    },
    Table {
        database: Database::Payment,
        name: "payments",
        source: "payments",
        columns: &[
            ("order_id", "order_id", Id),
            ("amount", "amount", Integer),
            ("currency", "currency", Text),
            ("status", "status", Text),
            ("provider_id", "provider_id", Text),
            ("refunded", "refunded", Integer),
        ],
    },
    Table {
        database: Database::Payment,
        name: "payment_ledger",
        source: "payment_ledger",
        columns: &[
            ("saga_id", "saga_id", Id),
            ("kind", "kind", Text),
            ("order_id", "order_id", Id),
            ("amount", "amount", Integer),
            ("currency", "currency", Text),
        ],
    },
    Table {
        database: Database::Payment,
        name: "refunds",
        source: "refunds",
        columns: &[
            ("saga_id", "saga_id", Id),
            ("order_id", "order_id", Id),
            ("amount", "amount", Integer),
            ("currency", "currency", Text),
            ("state", "state", Text),
        ],
    },
    Table {
        database: Database::Provider,
        name: "provider_payments",
        source: "payments",
        columns: &[
            ("id", "id", Text),
            ("reference", "reference", Text),
            ("amount", "amount", Integer),
            ("currency", "currency", Text),
            ("status", "status", Text),
            ("key", "idempotency_key", Text),
        ],
    },
    Table {
        database: Database::Provider,
        name: "provider_ledger",
        source: "ledger",
        columns: &[
            ("payment_id", "payment_id", Text),
            ("kind", "kind", Text),
            ("amount", "amount", Integer),
            ("currency", "currency", Text),
            ("key", "idempotency_key", Text),
        ],
    },
];

const fn watermark(service: &'static str) -> [Column; 2] {
    [("service", service, Text), ("below", "below", Id)]
}

const fn inbox(service: &'static str) -> [Column; 7] {
    [
        ("service", service, Text),
        ("saga_id", "saga_id", Id),
        ("step", "step", Text),
        ("action_hash", "action_hash", Bytes),
        ("action_outcome", "action_answer", Outcome),
        ("compensation_hash", "compensation_hash", Bytes),
        ("compensation_outcome", "compensation_answer", Outcome),
    ]
}

impl Kind {
    /// The outcome of a recorded answer. One that cannot be read is an outcome too: it equals none that is known.
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

impl Table {
    /// Adds rows of it to the scratch database.
    ///
    /// # Errors
    /// [`Failure::Scratch`].
    pub fn put(&self, rows: Vec<Vec<Value>>, scratch: &mut Scratch) -> Result<(), Failure> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _, _)| *name).collect();
        scratch.insert(self.name, &names, rows).map_err(Failure::Scratch)
    }
}
