//! The audit finds all damage and nothing else: the databases of a real run are damaged in one way
//! for each equation.

mod books;
mod damages;
mod postgres;
mod pruned;

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use books::Books;
use damages::DAMAGES;

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_fails_the_lines_that_it_must_and_no_others() -> anyhow::Result<()> {
    let books = Books::write().await?;
    let sound = books.audit(&["--require-rows"]).await?;
    ensure!(sound.failed().is_empty(), "undamaged books fail {:?}", sound.failed());
    let mut proven = BTreeSet::new();
    for damage in DAMAGES {
        let copy = books.copy()?;
        copy.damage(damage.sql).with_context(|| format!("{:?}", damage.lines))?;
        let found = copy.audit(&[]).await?;
        let expected: BTreeSet<String> = damage.lines.iter().map(|&l| l.to_owned()).collect();
        ensure!(
            found.failed() == expected,
            "{}\nfails {:?} and not {expected:?}:\n{}",
            damage.sql,
            found.failed(),
            found.offenders()
        );
        ensure!(found.status == 1, "exit status {}", found.status);
        proven.insert(damage.lines[0].to_owned());
    }
    let wrong_count = books.audit(&["--expect-orders", "1"]).await?;
    ensure!(wrong_count.failed() == BTreeSet::from(["orders-expected".to_owned()]));
    proven.insert("orders-expected".to_owned());
    let all = wrong_count.names();
    ensure!(proven == all, "no damage for {:?}", all.difference(&proven));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_a_line_a_book_and_only_the_equations_that_fail() -> anyhow::Result<()> {
    let books = Books::write().await?;
    let sound = books.shown(&[]).await?;
    ensure!(sound.lines().count() == 10 && sound.contains("stock       7 of 7 hold"), "{sound}");
    ensure!(sound.contains("audit: PASS (40 equations hold"), "{sound}");
    ensure!(!sound.contains("stock-conserved"), "{sound}");
    let verbose = books.shown(&["--verbose"]).await?;
    for name in books.audit(&[]).await?.names() {
        ensure!(verbose.lines().any(|line| line.starts_with(&format!("PASS  {name}"))), "{name}");
    }
    let damaged = books.copy()?;
    damaged
        .damage("UPDATE inventory.products SET available = available - 1 WHERE sku = 'teapot'")?;
    let shown = damaged.shown(&[]).await?;
    let failed = damaged.audit(&[]).await?.failed();
    let lines: BTreeSet<String> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("FAIL  ")?.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    ensure!(!failed.is_empty() && lines == failed, "{failed:?} and not:\n{shown}");
    let hold = 7 - failed.len();
    ensure!(shown.contains(&format!("stock       {hold} of 7 hold")), "{shown}");
    ensure!(shown.contains("      - ") && shown.contains("teapot"), "no sample:\n{shown}");
    ensure!(shown.contains("audit: FAIL"), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn books_without_rows_prove_nothing() -> anyhow::Result<()> {
    let books = Books::write().await?;
    let empty = books.copy()?;
    empty.damage(
        "DELETE FROM inventory.movements; DELETE FROM inventory.reservations;
         DELETE FROM inventory.products; DELETE FROM inventory.receipts;",
    )?;
    let found = empty.audit(&["--require-rows"]).await?;
    ensure!(found.failed().contains("stock-ledger"), "{:?}", found.failed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sagas_in_progress_are_no_rest() -> anyhow::Result<()> {
    let books = Books::write().await?;
    let open = books.copy()?;
    open.damage(
        "UPDATE orchestrator.sagas SET state = 1, ended_at = NULL, wake_at = 1
         WHERE id = (SELECT min(id) FROM orchestrator.sagas WHERE state = 3)",
    )?;
    let found = open.audit(&[]).await?;
    ensure!(found.status == 1, "exit status {}", found.status);
    ensure!(found.verdict("money") == Some("NOT AT REST".to_owned()), "{:?}", found.failed());
    // Equations that hold at every instant are checked while a saga is in progress too.
    let safety = open.audit(&["--safety"]).await?;
    ensure!(safety.verdict("money").is_none() && safety.verdict("stock-ledger").is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_cannot_be_read_have_no_verdict() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let output = books::saga(&["audit", "--data-dir", &dir.path().display().to_string()]).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{output:?}");
    ensure!(told.contains("orchestrator.sqlite") && output.stdout.is_empty(), "{told}");
    let output = books::saga(&["audit"]).await?;
    ensure!(output.status.code() == Some(64), "{output:?}");
    Ok(())
}
