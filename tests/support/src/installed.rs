//! Finds the servers' programs, or says what to install.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Returns the folder with the programs of the newest PostgreSQL that is installed.
pub(crate) fn postgres_programs() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").exists())
        .max();
    if let Some((_, folder)) = newest {
        return Ok(folder);
    }
    let initdb = on_path("initdb").context(
        "PostgreSQL's server programs are missing (looked for /usr/lib/postgresql/*/bin/initdb \
         and in PATH): apt-get install postgresql",
    )?;
    let real = initdb.canonicalize()?;
    Ok(real.parent().context("a program lies in a folder")?.to_owned())
}

/// Returns the script that starts RabbitMQ under the current user. The one in /usr/sbin changes the
/// user.
pub(crate) fn rabbitmq_server() -> anyhow::Result<PathBuf> {
    let packaged = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    if packaged.exists() {
        return Ok(packaged.to_owned());
    }
    on_path("rabbitmq-server").with_context(|| {
        format!(
            "RabbitMQ is missing (looked for {} and in PATH): apt-get install rabbitmq-server",
            packaged.display()
        )
    })
}

/// Returns the path of epmd, Erlang's registry of nodes.
pub(crate) fn epmd() -> anyhow::Result<PathBuf> {
    on_path("epmd").context(
        "Erlang's epmd is missing: apt-get install rabbitmq-server (it brings erlang-base)",
    )
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
