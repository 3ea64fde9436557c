//! Checks that the binaries of earlier releases go on with today's schema, so that an upgrade can
//! be undone: each query that a release has prepared takes the same parameters and returns the same
//! columns. `scripts/queries --keep` keeps a release's queries.

use std::{fs, path::Path};

use saga_postgres::{INBOX, Migrations, Pool};
use serde::Deserialize;
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, SqlSafeStr as _, Statement as _,
    TypeInfo as _, postgres::PgColumn,
};

use crate::databases;

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Query {
    query: String,
    /// Their types.
    parameters: Vec<String>,
    /// Their names and types.
    columns: Vec<[String; 2]>,
}

#[tokio::test]
async fn what_earlier_releases_prepare_is_served_by_this_schema() {
    let databases = databases_of_a_system().await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("released");
    let mut count = 0;
    for release in fs::read_dir(directory).expect("the kept queries") {
        let path = release.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a file");
        let queries: Vec<Query> = serde_json::from_str(&text).expect("queries");
        for query in queries {
            let prepared = prepare(&databases, &query.query).await;
            assert!(prepared.contains(&query), "{}: {query:#?}\n{prepared:#?}", path.display());
            count += 1;
        }
    }
    assert!(count > 50, "only {count} queries were kept");
}

#[tokio::test]
async fn a_query_that_is_not_served_any_more_is_found() {
    let databases = databases_of_a_system().await;
    let query = |query: &str, parameter: &str, column: [&str; 2]| Query {
        query: query.to_owned(),
        parameters: vec![parameter.to_owned()],
        columns: vec![column.map(str::to_owned)],
    };
    let sql = "SELECT caller FROM orders WHERE order_id = $1";
    let prepared = prepare(&databases, sql).await;
    assert_eq!(prepared, [query(sql, "UUID", ["caller", "TEXT"])]);
    assert_ne!(prepared, [query(sql, "UUID", ["caller", "INT4"])], "another type");
    let gone = prepare(&databases, "SELECT weight FROM orders WHERE order_id = $1").await;
    assert_eq!(gone, [], "there is no such column");
}

/// One database for the orchestrator, and one for each service.
async fn databases_of_a_system() -> Vec<Pool> {
    let sagas: &[&Migrations] = &[&saga_store::postgres::MIGRATIONS];
    let orders = [&INBOX, &saga_order::MIGRATIONS];
    let stock = [&INBOX, &saga_inventory::MIGRATIONS];
    let payments = [&INBOX, &saga_payment::MIGRATIONS];
    let mut databases = Vec::new();
    for parts in [sagas, &orders, &stock, &payments] {
        databases.push(databases::postgres("released", parts).await.0);
    }
    databases
}

/// Prepares a query, as a binary does that is started, on each database that has its tables.
async fn prepare(databases: &[Pool], sql: &str) -> Vec<Query> {
    let mut prepared = Vec::new();
    for database in databases {
        let text = AssertSqlSafe(sql.to_owned()).into_sql_str();
        let Ok(statement) = database.prepare(text).await else { continue };
        let parameters = statement.parameters().and_then(Either::left).unwrap_or_default();
        let column =
            |column: &PgColumn| [column.name().to_owned(), column.type_info().name().to_owned()];
        prepared.push(Query {
            query: sql.to_owned(),
            parameters: parameters.iter().map(|it| it.name().to_owned()).collect(),
            columns: statement.columns().iter().map(column).collect(),
        });
    }
    // Every participant has an inbox.
    prepared.dedup();
    prepared
}
