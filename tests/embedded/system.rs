//! `saga all --data-dir` as a process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use saga_test_support::{free_port, process::Launch, system::Role};

pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_saga"))
}

/// Runs `saga` with these arguments to its end.
pub(crate) async fn saga(args: &[&str]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(binary());
    command.args(args).env_clear().kill_on_drop(true);
    Ok(tokio::time::timeout(Duration::from_secs(180), command.output())
        .await
        .with_context(|| format!("saga {args:?} takes too long"))??)
}

/// Describes the process that plays all roles. It is not started yet.
pub(crate) fn embedded(data_dir: &Path, logs: &Path) -> Role {
    let port = free_port();
    let mut env = BTreeMap::from(
        [
            ("SAGA_STEP_TIMEOUT_MILLIS", "1500"),
            ("SAGA_ORDER_DEADLINE_SECONDS", "300"),
            ("SAGA_PROVIDER_SLOW_MILLIS", "800"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for role in ["ORDER", "INVENTORY", "PAYMENT", "PROVIDER"] {
        env.insert(format!("SAGA_{role}_LISTEN"), format!("127.0.0.1:{}", free_port()));
    }
    env.insert("SAGA_ORCHESTRATOR_LISTEN".to_owned(), format!("127.0.0.1:{port}"));
    let launch = Launch {
        name: "embedded".to_owned(),
        program: binary(),
        args: vec!["all".into(), "--data-dir".into(), data_dir.display().to_string()],
        env,
        log_dir: logs.to_owned(),
    };
    Role::new(launch, port)
}

/// Audits a directory, which must pass.
pub(crate) async fn audit(data_dir: &Path) -> anyhow::Result<()> {
    let dir = data_dir.display().to_string();
    let output = saga(&["audit", "--data-dir", &dir, "--wait", "150"]).await?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && report.contains("PASS"),
        "the audit did not pass:\n{report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
