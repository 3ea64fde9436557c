//! Checks that no migration keeps an older binary from working, or locks a large table.

use std::{collections::BTreeSet, fs};

use crate::documents::{Tree, root};

/// Migrations that were published before these rules. They met no table with many rows.
const BEFORE: [&str; 5] = [
    "store/migrations/0002_retention",
    "store/migrations/0003_quarantine",
    "store/migrations/0004_undone",
    "order/migrations/0101_returns",
    "inventory/migrations/0101_returns",
];

/// What only a contracting migration may do, and why.
const CONTRACTS: [(&str, &str); 6] = [
    ("DROP TABLE", "older binaries use the table"),
    ("DROP COLUMN", "older binaries use the column"),
    ("RENAME", "older binaries use the old name"),
    ("SET NOT NULL", "older binaries may write NULL"),
    (" TYPE ", "older binaries expect the old type"),
    ("INSERT INTO SCHEMA_NEEDS", "older binaries would be refused"),
];

#[test]
fn every_migration_expands_backfills_or_contracts_as_its_name_says() {
    let tree = Tree::read();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for path in tree.files().filter(|path| path.contains("/migrations/") && path.ends_with(".sql"))
    {
        let name = path.trim_end_matches(".sql");
        let sql = fs::read_to_string(root().join(path)).expect("a migration");
        let complaints = complaints(name, &sql);
        if let Some(before) = BEFORE.iter().find(|before| name.ends_with(**before)) {
            if !complaints.is_empty() {
                seen.insert(*before);
            }
            continue;
        }
        wrong.extend(complaints.into_iter().map(|what| format!("{path}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, BEFORE.into(), "the others are gone, or need no exception");
}

/// Returns what is wrong with a migration.
fn complaints(name: &str, sql: &str) -> Vec<String> {
    let statements = statements(sql);
    let own: Vec<&str> =
        statements.iter().filter_map(|it| word_after(it, "CREATE TABLE ")).collect();
    let outside = sql.starts_with("-- no-transaction");
    let kind = name.rsplit('_').next().unwrap_or_default();
    let contracts = kind == "contract";
    let mut complaints = Vec::new();
    let mut complain = |what: &str| complaints.push(what.to_owned());
    for statement in &statements {
        let has = |what: &str| statement.contains(what);
        // What happens to a table that this file creates, nobody sees.
        let table = ["ALTER TABLE ", "UPDATE ", "DELETE FROM "]
            .iter()
            .find_map(|verb| word_after(statement, verb))
            .or_else(|| word_after(statement, " ON "));
        if table.is_some_and(|table| own.contains(&table)) {
            continue;
        }
        for (what, why) in CONTRACTS.iter().filter(|(what, _)| has(what) && !contracts) {
            complain(&format!("{what} is for a contracting migration: {why}"));
        }
        if has("ADD COLUMN") && has("NOT NULL") && !has("DEFAULT") {
            complain("a new column that must be written: older binaries do not know it");
        }
        let constrains = has("CHECK (") || has("ADD CONSTRAINT") || has("REFERENCES ");
        if statement.starts_with("ALTER TABLE") && constrains && !has("NOT VALID") {
            complain("a constraint must be NOT VALID, and validated by a later migration");
        }
        let index = statement.starts_with("CREATE INDEX") || has("CREATE UNIQUE INDEX");
        if index && !(has(" CONCURRENTLY IF NOT EXISTS ") && outside && statements.len() == 1) {
            complain(
                "an index on a table with rows is built alone in its file, which begins with \
                 `-- no-transaction`, by CREATE INDEX CONCURRENTLY IF NOT EXISTS",
            );
        }
        let writes = statement.starts_with("UPDATE ") || statement.starts_with("DELETE ");
        if writes && kind != "backfill" {
            complain("rows are written by a migration whose name ends with `backfill`");
        }
    }
    let text = statements.join(";");
    if text.contains("NOT VALID") && text.contains("VALIDATE CONSTRAINT") {
        complain("a constraint is validated by a migration after the one that adds it");
    }
    if kind == "backfill" && !(outside && text.contains("COMMIT")) {
        complain(
            "a backfill begins with `-- no-transaction` and commits after every few thousand rows",
        );
    }
    if contracts && !text.contains("INSERT INTO SCHEMA_NEEDS") {
        complain("a contracting migration inserts into schema_needs what a binary must know");
    }
    complaints
}

/// Returns the statements in capital letters, without comments and needless space.
fn statements(sql: &str) -> Vec<String> {
    let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join(" ").to_uppercase();
    let squeezed = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ");
    code.split(';').map(squeezed).filter(|it| !it.is_empty()).collect()
}

/// Returns the word that follows `before`, without what may stand between them.
fn word_after<'a>(statement: &'a str, before: &str) -> Option<&'a str> {
    let rest = statement.split_once(before)?.1;
    let rest = rest.trim_start_matches("IF NOT EXISTS ").trim_start_matches("ONLY ");
    rest.split([' ', '(']).next()
}

#[test]
fn a_migration_that_stops_others_is_found() {
    let own =
        "CREATE TABLE t (a int); CREATE INDEX t_by_a ON t (a); ALTER TABLE t ADD CHECK (a > 1)";
    let index = "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS o ON orders (a)";
    let backfill = "-- no-transaction\nDO $$ BEGIN LOOP UPDATE orders SET a = 1; COMMIT; \
        EXIT WHEN NOT FOUND; END LOOP; END $$";
    let needs = "INSERT INTO schema_needs VALUES (7)";
    for (name, sql) in [
        ("0107_own_expand", own.to_owned()),
        ("0107_column_expand", "ALTER TABLE orders ADD COLUMN a int NOT NULL DEFAULT 1".to_owned()),
        ("0107_index_expand", index.to_owned()),
        ("0107_check_expand", "ALTER TABLE orders ADD CHECK (a > 1) NOT VALID".to_owned()),
        ("0108_check_expand", "ALTER TABLE orders VALIDATE CONSTRAINT a".to_owned()),
        ("0107_rows_backfill", backfill.to_owned()),
        ("0107_gone_contract", format!("ALTER TABLE orders DROP COLUMN a; {needs}")),
    ] {
        assert_eq!(complaints(name, &sql), [""; 0], "{name}");
    }
    for (name, sql) in [
        ("0107_gone_expand", "ALTER TABLE orders DROP COLUMN a"),
        ("0107_gone_expand", "DROP TABLE orders"),
        ("0107_name_expand", "ALTER TABLE orders RENAME COLUMN a TO b"),
        ("0107_null_expand", "ALTER TABLE orders ALTER COLUMN a SET NOT NULL"),
        ("0107_type_expand", "ALTER TABLE orders ALTER COLUMN a TYPE bigint"),
        ("0107_column_expand", "ALTER TABLE orders ADD COLUMN a int NOT NULL"),
        ("0107_check_expand", "ALTER TABLE orders ADD CHECK (a > 1)"),
        ("0107_check_expand", "ALTER TABLE orders ADD COLUMN a int CHECK (a > 1)"),
        (
            "0107_check_expand",
            "ALTER TABLE orders ADD CHECK (a > 1) NOT VALID; ALTER TABLE orders VALIDATE CONSTRAINT a",
        ),
        ("0107_index_expand", "CREATE INDEX o ON orders (a)"),
        ("0107_index_expand", "CREATE INDEX CONCURRENTLY IF NOT EXISTS o ON orders (a)"),
        ("0107_index_expand", "-- no-transaction\nCREATE INDEX CONCURRENTLY o ON orders (a)"),
        ("0107_rows_expand", "UPDATE orders SET a = 1"),
        ("0107_rows_backfill", "UPDATE orders SET a = 1"),
        ("0107_gone_contract", "ALTER TABLE orders DROP COLUMN a"),
    ] {
        assert_eq!(complaints(name, sql).len(), 1, "{name}: {sql}: {:?}", complaints(name, sql));
    }
}
