//! The databases of a real run, and copies of them to damage.

use std::{collections::BTreeSet, path::PathBuf, process::Output, time::Duration};

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

/// The name of each database in the damages' SQL, and its file.
const FILES: [(&str, &str); 5] = [
    ("orchestrator", "orchestrator.sqlite"),
    ("orders", "order.sqlite"),
    ("inventory", "inventory.sqlite"),
    ("payment", "payment.sqlite"),
    ("provider", "provider/provider.sqlite"),
];
/// Enough orders for some of every kind.
const ORDERS: &str = "150";

/// A directory with the databases of a system that has stopped.
pub(crate) struct Books(TempDir);

/// The audit's report and exit status.
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
    /// Runs the demo, with its kills, to write the databases.
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

    /// Runs SQL on all five databases, with constraints switched off.
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

    /// Runs the audit and returns its text for people.
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

    /// Returns the names of the report's lines that do not pass.
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
