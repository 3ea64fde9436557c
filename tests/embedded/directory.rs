//! Directories that cannot be used: each is refused with a sentence that says why, and is not
//! changed.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, ensure};

use crate::system::{binary, embedded, saga};

/// Starts `saga all` on a directory, which must be refused, and returns the message.
async fn refused(data: &Path) -> anyhow::Result<String> {
    let data = data.display().to_string();
    let output = saga(&["all", "--data-dir", &data]).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(!told.contains("panicked"), "{told}");
    Ok(told)
}

/// Runs the system on a directory and stops it again.
async fn used(dir: &Path) -> anyhow::Result<()> {
    let system = embedded(dir, &dir.join("logs"));
    system.start().await?;
    system.stock("teapot", 10).await?;
    system.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directory_is_refused() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let system = embedded(dir.path(), &dir.path().join("logs"));
    system.start().await?;
    let told = refused(dir.path()).await?;
    ensure!(told.contains("in use by another saga process"), "{told}");
    system.stock("teapot", 10).await.context("the first goes on")?;
    system.kill()?;
    // The lock ends with its process, however the process ended.
    system.start().await?;
    system.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_written_is_refused() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("file"), "in the way")?;
    let told = refused(&dir.path().join("file/data")).await?;
    ensure!(told.contains("cannot be used") && told.contains("file/data"), "{told}");

    // Root may write everywhere, so the test needs another user.
    let locked = dir.path().join("locked");
    std::fs::create_dir(&locked)?;
    for path in [dir.path(), &locked] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555))?;
    }
    let copy = tempfile::tempdir()?;
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o755))?;
    let program = copy.path().join("saga");
    std::fs::copy(binary(), &program)?;
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["all", "--data-dir"])
        .arg(&locked)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .output()
        .context("setpriv")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(told.contains("locked") && told.contains("ermission"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_refused_and_left_as_it_was() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    used(dir.path()).await?;
    let file = dir.path().join("inventory.sqlite");
    let mut bytes = std::fs::read(&file)?;
    ensure!(bytes.len() > 4096 * 2, "a database of {} bytes", bytes.len());
    let middle = bytes.len() / 2;
    for byte in &mut bytes[4096..middle] {
        *byte = 0xA5;
    }
    std::fs::write(&file, &bytes)?;
    let told = refused(dir.path()).await?;
    ensure!(told.contains("inventory.sqlite") && told.contains("damaged"), "{told}");
    ensure!(std::fs::read(&file)? == bytes, "it was changed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_newer_than_the_binary_is_refused_and_left_as_it_was() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    used(dir.path()).await?;
    let file = dir.path().join("orchestrator.sqlite");
    let database = rusqlite::Connection::open(&file)?;
    database.pragma_update(None, "user_version", 99)?;
    drop(database);
    let bytes = std::fs::read(&file)?;
    let told = refused(dir.path()).await?;
    ensure!(told.contains("schema version 99") && told.contains("newer binary"), "{told}");
    ensure!(std::fs::read(&file)? == bytes, "it was changed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_is_refused() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let other = rusqlite::Connection::open(dir.path().join("payment.sqlite"))?;
    other.execute_batch("CREATE TABLE notes (text TEXT)")?;
    drop(other);
    let told = refused(dir.path()).await?;
    ensure!(told.contains("payment.sqlite") && told.contains("another program"), "{told}");
    Ok(())
}
