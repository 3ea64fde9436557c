//! Whoever looks from outside asks Postgres and SQLite the same question.

use super::{on_memory, on_postgres};

#[tokio::test(flavor = "multi_thread")]
async fn in_postgres_and_in_sqlite() {
    let theirs: Vec<(String, String, bool)> = sqlx::query_as(
        r#"SELECT table_name::text, column_name::text, is_nullable = 'NO'
           FROM information_schema.columns
           WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'
           ORDER BY table_name COLLATE "C", ordinal_position"#,
    )
    .fetch_all(&on_postgres().await.beneath)
    .await
    .expect("the columns");
    let ours: Vec<(String, String, bool)> = on_memory()
        .beneath
        .read(|c| {
            c.prepare(
                r#"SELECT t.name, c.name, c."notnull" FROM sqlite_schema t
                   JOIN pragma_table_info(t.name) c
                   WHERE t.type = 'table' ORDER BY t.name, c.cid"#,
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
        })
        .await
        .expect("the columns");
    assert!(theirs.len() > 30, "{theirs:?}");
    assert_eq!(ours, theirs);
}
