//! The books of a real run, and copies of them to be damaged.

use std::{collections::BTreeSet, path::PathBuf, process::Output, time::Duration};

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

/// Where each database is, and what the damages call it.
const FILES: [(&str, &str); 5] = [
    ("orchestrator", "orchestrator.sqlite"),
    ("orders", "order.sqlite"),
    ("inventory", "inventory.sqlite"),
    ("payment", "payment.sqlite"),
    ("provider", "provider/provider.sqlite"),
];
/// Enough for some of every kind.
const ORDERS: &str = "150";

/// A directory with the books of a system that has stopped.
pub(crate) struct Books(TempDir);

/// What the audit said.
pub(crate) struct Found {
    pub(crate) report: Value,
    pub(crate) status: i32,
}

pub(crate) async fn saga(args: &[&str]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_saga"));
    command.args(args).env_clear().kill_on_drop(true);
    Ok(tokio::time::timeout(Duration::from_secs(120), command.output())
        .await
        .with_context(|| format!("saga {args:?} takes too long"))??)
}

impl Books {
    /// Has the demo write them, kills included.
    pub(crate) async fn write() -> anyhow::Result<Self> {
        let books = Self(tempfile::tempdir()?);
        let output =
            saga(&["demo", "--orders", ORDERS, "--seed", "5", "--data-dir", &books.dir()]).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(books)
    }

    pub(crate) fn copy(&self) -> anyhow::Result<Self> {
        let copy = Self(tempfile::tempdir()?);
        std::fs::create_dir(copy.path("provider"))?;
        for (_, file) in FILES {
            std::fs::copy(self.path(file), copy.path(file))?;
        }
        Ok(copy)
    }

    /// Runs SQL over all five databases. No constraint is in its way.
    pub(crate) fn damage(&self, sql: &str) -> anyhow::Result<()> {
        let connection = Connection::open_in_memory()?;
        for (name, file) in FILES {
            let path = self.path(file).display().to_string();
            connection.execute(&format!("ATTACH ?1 AS {name}"), [path])?;
        }
        connection.execute_batch("PRAGMA ignore_check_constraints = ON")?;
        let before = connection.total_changes();
        connection.execute_batch(sql)?;
        ensure!(connection.total_changes() > before, "it changed nothing: {sql}");
        Ok(())
    }

    pub(crate) async fn audit(&self, more: &[&str]) -> anyhow::Result<Found> {
        let dir = self.dir();
        let args = [&["audit", "--data-dir", &dir, "--json"], more].concat();
        let output = saga(&args).await?;
        Found::of(&output)
    }

    /// What people see.
    pub(crate) async fn shown(&self, more: &[&str]) -> anyhow::Result<String> {
        let dir = self.dir();
        let output = saga(&[&["audit", "--data-dir", &dir], more].concat()).await?;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn dir(&self) -> String {
        self.0.path().display().to_string()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }
}

impl Found {
    pub(crate) fn of(output: &Output) -> anyhow::Result<Self> {
        let report = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok(Self { report, status: output.status.code().context("killed")? })
    }

    /// Names of the lines that do not pass.
    pub(crate) fn failed(&self) -> BTreeSet<String> {
        self.lines().filter(|line| line["verdict"] != "PASS").filter_map(name).collect()
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.lines().filter_map(name).collect()
    }

    pub(crate) fn verdict(&self, of: &str) -> Option<String> {
        let line = self.lines().find(|line| line["name"] == of)?;
        line["verdict"].as_str().map(str::to_owned)
    }

    pub(crate) fn offenders(&self) -> String {
        let failed = self.lines().filter(|line| line["verdict"] != "PASS");
        failed.map(|line| format!("{}: {}\n", line["name"], line["offenders"])).collect()
    }

    fn lines(&self) -> impl Iterator<Item = &Value> {
        self.report["equations"].as_array().into_iter().flatten()
    }
}

fn name(line: &Value) -> Option<String> {
    line["name"].as_str().map(str::to_owned)
}
