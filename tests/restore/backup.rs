//! Backups of one database, taken while it is written to.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use saga_test_support::system::System;

/// A dump of one role's database.
pub(crate) struct Backup {
    role: &'static str,
    file: PathBuf,
}

impl Backup {
    /// Dumps the database of a role, as it is at one instant.
    pub(crate) async fn of(system: &System, role: &'static str) -> anyhow::Result<Self> {
        let file = system.dir().join(format!("{role}.dump"));
        let mut dump = Command::new("pg_dump");
        dump.args(["--format=custom", "--file"]).arg(&file).arg(system.database_url(role));
        run(dump).await?;
        Ok(Self { role, file })
    }

    /// Drops the database and makes it anew from the dump, whoever is connected to it.
    pub(crate) async fn restore(&self, system: &System) -> anyhow::Result<()> {
        let name = format!("saga_{}", self.role);
        let mut anew = Command::new("psql");
        anew.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname"]);
        anew.arg(system.own()?.postgres.url("postgres"));
        anew.args(["--command", &format!("DROP DATABASE {name} WITH (FORCE)")]);
        anew.args(["--command", &format!("CREATE DATABASE {name} OWNER {name}")]);
        run(anew).await?;
        let mut restore = Command::new("pg_restore");
        restore
            .args(["--exit-on-error", "--dbname"])
            .arg(system.database_url(self.role))
            .arg(&self.file);
        run(restore).await
    }
}

async fn run(mut command: Command) -> anyhow::Result<()> {
    let output = tokio::task::spawn_blocking(move || {
        let what = format!("{command:?}");
        command.output().context(what)
    });
    let output = output.await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
