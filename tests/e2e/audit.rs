//! The tests' own audit: checks equations over the databases from outside, with SQL only.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use rusqlite::OpenFlags;
use sqlx::{PgPool, Row as _, postgres::PgPoolOptions};

use crate::{
    load::{Logged, expected},
    system::{REPLICATED, System},
};

/// Administrator connections to the four databases.
pub(crate) struct Audit {
    pub(crate) orchestrator: PgPool,
    pub(crate) order: PgPool,
    pub(crate) inventory: PgPool,
    pub(crate) payment: PgPool,
}

impl Audit {
    pub(crate) async fn open(system: &System) -> anyhow::Result<Self> {
        let mut pools = Vec::new();
        for role in REPLICATED {
            let url = system.database_url(role);
            pools.push(PgPoolOptions::new().max_connections(2).connect(&url).await?);
        }
        let mut pools = pools.into_iter();
        let mut next = || pools.next().context("four databases");
        Ok(Self { orchestrator: next()?, order: next()?, inventory: next()?, payment: next()? })
    }

    /// Waits until no saga is in progress, and calls [`Audit::safety`] again and again meanwhile.
    pub(crate) async fn wait_until_quiet(&self, limit: std::time::Duration) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            self.safety().await?;
            let open =
                number(&self.orchestrator, "SELECT count(*) FROM sagas WHERE state NOT IN (3, 4)")
                    .await?;
            if open == 0 {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let rows = sqlx::query(
                    "SELECT id::text, state, progress, wake_at::text, now()::text AS now
                     FROM sagas WHERE state NOT IN (3, 4) LIMIT 5",
                )
                .fetch_all(&self.orchestrator)
                .await?;
                let shown: Vec<String> = rows
                    .iter()
                    .map(|row| {
                        format!(
                            "{} state {} {} wake {:?} now {:?}",
                            row.get::<String, _>(0),
                            row.get::<i16, _>(1),
                            row.get::<String, _>(2),
                            row.get::<Option<String>, _>(3),
                            row.get::<String, _>(4),
                        )
                    })
                    .collect();
                anyhow::bail!("{open} sagas have not ended:\n{}", shown.join("\n"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Checks the equations that hold at every instant.
    pub(crate) async fn safety(&self) -> anyhow::Result<()> {
        none(
            &self.inventory,
            "a product's stock does not add up",
            "SELECT sku FROM products
             WHERE received <> available + reserved + sold
                OR available < 0 OR reserved < 0 OR sold < 0",
        )
        .await?;
        none(
            &self.inventory,
            "reserved stock is not the sum of the open reservations",
            "SELECT p.sku FROM products p
             WHERE p.reserved <> (SELECT coalesce(sum(r.quantity), 0) FROM reservations r
                                  WHERE r.sku = p.sku AND r.state = 'open')",
        )
        .await?;
        none(
            &self.payment,
            "more was refunded than captured, or captured than authorised",
            "SELECT order_id::text FROM payments WHERE refunded < 0 OR refunded > amount",
        )
        .await?;
        none(
            &self.orchestrator,
            "a history has a gap, or does not end in its saga's version",
            "SELECT s.id::text FROM sagas s
             JOIN (SELECT saga_id, count(*) AS rows, max(version) AS last
                   FROM saga_history GROUP BY saga_id) h ON h.saga_id = s.id
             WHERE h.rows <> h.last OR h.last <> s.version",
        )
        .await?;
        none(
            &self.orchestrator,
            "a saga was moved after its end",
            "SELECT a.saga_id::text FROM saga_history a
             JOIN saga_history b ON b.saga_id = a.saga_id AND b.version > a.version
             WHERE a.state IN (3, 4)",
        )
        .await
    }

    /// Checks the equations that hold once every saga has ended.
    pub(crate) async fn at_rest(&self, system: &System, log: &[Logged]) -> anyhow::Result<()> {
        self.safety().await?;
        self.every_order_ended_as_it_must(log).await?;
        self.ledgers_agree(system).await?;
        none(
            &self.inventory,
            "a reservation is still open",
            "SELECT saga_id::text FROM reservations WHERE state = 'open'",
        )
        .await?;
        none(
            &self.payment,
            "an authorisation is still open",
            "SELECT order_id::text FROM payments WHERE status IN ('authorising', 'authorised')",
        )
        .await?;
        none(
            &self.inventory,
            "an effect on stock happened twice, or a product's ledger does not add up",
            "SELECT p.sku FROM products p
             LEFT JOIN (SELECT sku,
                    sum(quantity) FILTER (WHERE kind = 'received') AS received,
                    sum(quantity) FILTER (WHERE kind = 'reserved') AS reserved,
                    sum(quantity) FILTER (WHERE kind = 'released') AS released,
                    sum(quantity) FILTER (WHERE kind = 'committed') AS committed
                  FROM movements GROUP BY sku) m ON m.sku = p.sku
             WHERE p.received <> coalesce(m.received, 0)
                OR p.sold <> coalesce(m.committed, 0)
                OR p.reserved <> coalesce(m.reserved, 0) - coalesce(m.released, 0)
                                 - coalesce(m.committed, 0)",
        )
        .await
    }

    async fn every_order_ended_as_it_must(&self, log: &[Logged]) -> anyhow::Result<()> {
        let rows =
            sqlx::query("SELECT order_id::text, status, coalesce(reason_code, '') FROM orders")
                .fetch_all(&self.order)
                .await?;
        let orders: BTreeMap<String, (i16, String)> =
            rows.iter().map(|r| (r.get(0), (r.get(1), r.get(2)))).collect();
        for logged in log {
            let Some((status, reason)) = orders.get(&logged.order_id) else {
                anyhow::bail!("lost: {logged:?} was accepted and is in no table");
            };
            let (expected, why) = expected(logged);
            ensure!(
                i32::from(*status) == expected as i32 && reason == why,
                "{logged:?} ended as {status} {reason:?}, not {expected:?} {why:?}"
            );
        }
        let rows = sqlx::query("SELECT key, saga_id::text FROM idempotency_keys")
            .fetch_all(&self.orchestrator)
            .await?;
        let bound: BTreeMap<String, String> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
        for logged in log {
            ensure!(
                bound.get(&logged.key) == Some(&logged.order_id),
                "{logged:?} is bound to {:?}",
                bound.get(&logged.key)
            );
        }
        let sagas = number(&self.orchestrator, "SELECT count(*) FROM sagas").await?;
        let keys = number(&self.orchestrator, "SELECT count(*) FROM idempotency_keys").await?;
        ensure!(sagas == keys, "{sagas} sagas for {keys} keys");
        ensure!(
            orders.len() == log.len() && sagas == log.len() as i64,
            "{} orders and {sagas} sagas for {} accepted ones",
            orders.len(),
            log.len()
        );
        Ok(())
    }

    /// Checks that our payments, our orders and the provider's ledger agree.
    async fn ledgers_agree(&self, system: &System) -> anyhow::Result<()> {
        let confirmed = sum(&self.order, "SELECT sum(total) FROM orders WHERE status = 2").await?;
        let captured =
            sum(&self.payment, "SELECT sum(amount) FROM payment_ledger WHERE kind = 'captured'")
                .await?;
        let refunded =
            sum(&self.payment, "SELECT sum(amount) FROM payment_ledger WHERE kind = 'refunded'")
                .await?;
        ensure!(
            captured - refunded == confirmed,
            "captured {captured} less refunded {refunded} is not the confirmed {confirmed}"
        );
        let provider = rusqlite::Connection::open_with_flags(
            system.provider_ledger(),
            OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?;
        let theirs: i64 = provider.query_row(
            "SELECT coalesce(sum(CASE kind WHEN 'captured' THEN amount
                                           WHEN 'refunded' THEN -amount ELSE 0 END), 0) FROM ledger",
            [],
            |row| row.get(0),
        )?;
        ensure!(theirs == confirmed, "the provider moved {theirs}, we confirmed {confirmed}");
        let open: i64 = provider.query_row(
            "SELECT count(*) FROM payments p WHERE p.status = 'authorised'",
            [],
            |row| row.get(0),
        )?;
        ensure!(open == 0, "{open} authorisations are open at the provider");
        Ok(())
    }

    /// Checks that the compensations of every compensated saga ran in reverse order of its steps.
    pub(crate) async fn compensations_ran_in_reverse(&self) -> anyhow::Result<usize> {
        let rows = sqlx::query(
            "SELECT h.saga_id::text, h.entry FROM saga_history h
             JOIN sagas s ON s.id = h.saga_id WHERE s.state = 4 ORDER BY h.saga_id, h.version",
        )
        .fetch_all(&self.orchestrator)
        .await?;
        let mut sagas: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        for row in &rows {
            let entry: String = row.get(1);
            sagas.entry(row.get(0)).or_default().push(serde_json::from_str(&entry)?);
        }
        for (id, entries) in &sagas {
            let done = |direction: &str| -> Vec<&str> {
                entries
                    .iter()
                    .filter(|e| e["what"] == "done" && e["direction"] == direction)
                    .filter_map(|e| e["step"].as_str())
                    .collect()
            };
            let mut undone = done("compensation");
            undone.reverse();
            let acted = done("action");
            // A step with an unknown outcome is not in `acted`, but it is undone too.
            let reversed =
                acted.iter().all(|step| undone.contains(step)) && is_subsequence(&acted, &undone);
            ensure!(reversed, "saga {id} did {acted:?} and undid, in reverse, {undone:?}");
        }
        Ok(sagas.len())
    }
}

fn is_subsequence(short: &[&str], long: &[&str]) -> bool {
    let mut long = long.iter();
    short.iter().all(|one| long.any(|other| other == one))
}

async fn number(pool: &PgPool, query: &'static str) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

async fn sum(pool: &PgPool, query: &'static str) -> anyhow::Result<i64> {
    let query = sqlx::AssertSqlSafe(format!("SELECT coalesce(({query}), 0)::bigint"));
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// Fails with the offending rows if there are any.
async fn none(pool: &PgPool, wrong: &str, query: &'static str) -> anyhow::Result<()> {
    let rows: Vec<String> = sqlx::query_scalar(query).fetch_all(pool).await?;
    ensure!(rows.is_empty(), "{wrong}: {:?}", &rows[..rows.len().min(5)]);
    Ok(())
}
