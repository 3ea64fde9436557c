use super::*;

fn table(columns: &[&str], rows: Vec<(Uuid, Vec<Value>)>) -> Table {
    let column = |name: &&str| Column { name: (*name).to_owned(), sql_type: "text".to_owned() };
    let mut table = Table { columns: columns.iter().map(column).collect(), ..Table::default() };
    for (saga, row) in rows {
        table.rows.entry(saga).or_default().push(row);
    }
    table
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// One confirmed saga and one declined one, as their tables are at the end.
fn tables() -> (Tables, [Uuid; 2]) {
    use Value::{Big, Null, Saga};
    let (paid, declined) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut tables = Tables::default();
    let ended = |version, state| {
        vec![Saga, Big(state), Big(version), text("{}"), text("{}"), Null, Big(9), Big(100)]
    };
    tables.put(
        "orchestrator",
        "sagas",
        table(
            &["id", "state", "version", "progress", "data", "wake_at", "ended_at", "deadline"],
            vec![(paid, ended(7, 3)), (declined, ended(6, 4))],
        ),
    );
    let versions = |saga, last| (1..=last).map(move |v| (saga, vec![Saga, Big(v), text("x")]));
    tables.put(
        "orchestrator",
        "saga_history",
        table(
            &["saga_id", "version", "entry"],
            versions(paid, 7).chain(versions(declined, 6)).collect(),
        ),
    );
    let one = |saga| (saga, vec![Saga]);
    let key = table(&["saga_id"], vec![one(paid), one(declined)]);
    tables.put("orchestrator", "idempotency_keys", key);
    let inbox = |steps: &[(Uuid, &str, bool)]| {
        let row = |(saga, step, undone): &(Uuid, &str, bool)| {
            let undone = if *undone { text("undone") } else { Null };
            let row = vec![Saga, text(step), text("h"), text("a"), undone.clone(), undone];
            (*saga, row)
        };
        table(
            &[
                "saga_id",
                "step",
                "action_hash",
                "action_answer",
                "compensation_hash",
                "compensation_answer",
            ],
            steps.iter().map(row).collect(),
        )
    };
    tables.put(
        "order",
        "inbox",
        inbox(&[
            (paid, "create-order", false),
            (paid, "confirm-order", false),
            (declined, "create-order", true),
        ]),
    );
    tables.put(
        "inventory",
        "inbox",
        inbox(&[
            (paid, "reserve-stock", false),
            (paid, "commit-stock", false),
            (declined, "reserve-stock", true),
        ]),
    );
    tables.put(
        "payment",
        "inbox",
        inbox(&[
            (paid, "authorise-payment", false),
            (paid, "capture-payment", false),
            (declined, "authorise-payment", false),
        ]),
    );
    let order = [
        "order_id",
        "status",
        "reason_code",
        "reason",
        "currency",
        "total",
        "updated_at",
        "ended_at",
    ];
    let row = |saga| (saga, vec![Value::Null; order.len()]);
    tables.put("order", "orders", table(&order, vec![row(paid), row(declined)]));
    let line = |saga, price| (saga, vec![Saga, Big(1), price]);
    tables.put(
        "order",
        "order_lines",
        table(
            &["order_id", "line_no", "unit_price"],
            vec![line(paid, Big(5)), line(declined, Null)],
        ),
    );
    let held = |saga, state| (saga, vec![Saga, text("cup"), Big(2), text(state)]);
    tables.put(
        "inventory",
        "reservations",
        table(
            &["saga_id", "sku", "quantity", "state"],
            vec![held(paid, "committed"), held(declined, "released")],
        ),
    );
    let moved = |saga, kind| (saga, vec![Saga, text(kind)]);
    tables.put(
        "inventory",
        "movements",
        table(
            &["saga_id", "kind"],
            vec![
                moved(paid, "reserved"),
                moved(paid, "committed"),
                moved(declined, "reserved"),
                moved(declined, "released"),
            ],
        ),
    );
    let payment = |saga, status| (saga, vec![Saga, text(status), Null, Null, Null]);
    tables.put(
        "payment",
        "payments",
        table(
            &["order_id", "status", "provider_id", "decline_code", "updated_at"],
            vec![payment(paid, "captured"), payment(declined, "declined")],
        ),
    );
    tables.put(
        "payment",
        "payment_ledger",
        table(
            &["saga_id", "kind"],
            vec![moved(paid, "authorised"), moved(paid, "captured"), moved(declined, "declined")],
        ),
    );
    (tables, [paid, declined])
}

#[test]
fn every_row_of_history_and_every_effect_is_written_once() {
    let (tables, ids) = tables();
    let batch = Batch::of(&tables, &ids).expect("the tables are as the plan expects");
    let inserted = |name: &str| -> usize {
        let all = batch.statements.iter().flatten();
        all.filter(|s| s.table == name && s.action == Action::Insert).map(Statement::rows).sum()
    };
    assert_eq!(batch.statements.len(), 10);
    for (name, rows) in [
        ("sagas", 2),
        ("saga_history", 13),
        ("idempotency_keys", 2),
        ("inbox", 9),
        ("orders", 2),
        ("order_lines", 2),
        ("reservations", 2),
        ("movements", 4),
        ("payments", 2),
        ("payment_ledger", 3),
    ] {
        assert_eq!(inserted(name), rows, "{name}");
    }
    // Nine actions' answers and two compensations': six of the one, five of the other.
    assert_eq!(batch.answers, 11);
}

#[test]
fn a_saga_is_updated_at_every_turn_and_ends_in_the_last() {
    let (tables, ids) = tables();
    let batch = Batch::of(&tables, &ids).expect("the tables are as the plan expects");
    let updates: Vec<&Statement> = batch
        .statements
        .iter()
        .flatten()
        .filter(|s| s.table == "sagas" && s.action == Action::Update { key: 1 })
        .collect();
    let column = |statement: &Statement, name: &str| {
        let at = statement.columns.iter().position(|c| c.name == name).expect("it is written");
        statement.values[at].clone()
    };
    // Side by side, commit and confirm make one update of two versions.
    assert_eq!(updates.len(), 5);
    for update in &updates[..4] {
        assert_eq!(column(update, "wake_at"), vec![Value::Big(100); 2], "as it was: HOT");
        assert_eq!(column(update, "ended_at"), vec![Value::Null; 2]);
    }
    assert_eq!(column(updates[4], "version"), [Value::Big(7), Value::Big(6)]);
    assert_eq!(column(updates[4], "wake_at"), vec![Value::Null; 2]);
}

#[test]
fn what_is_reserved_is_closed_again_a_row_a_product() {
    let (tables, ids) = tables();
    let batch = Batch::of(&tables, &ids).expect("the tables are as the plan expects");
    let moves: Vec<&Statement> = batch
        .statements
        .iter()
        .flatten()
        .filter(|statement| statement.action == Action::Move)
        .collect();
    assert_eq!(moves.len(), 2);
    let numbers = |statement: &Statement| -> Vec<i64> {
        statement.values[1..].iter().filter_map(|column| column[0].number()).collect()
    };
    assert_eq!(numbers(moves[0]), [-4, 4, 0]);
    assert_eq!(numbers(moves[1]), [2, -4, 2]);
    assert_eq!(moves[0].rows(), 1);
}

#[test]
fn a_column_that_is_gone_says_so() {
    let (mut tables, ids) = tables();
    tables.put("inventory", "reservations", table(&["saga_id"], vec![]));
    let error = Batch::of(&tables, &ids).map(drop).expect_err("its columns are gone");
    assert!(error.to_string().contains("no column sku"), "{error}");
}
