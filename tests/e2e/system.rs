//! Systems for end-to-end tests.

use std::path::PathBuf;

use saga_test_support::system::Options;
pub(crate) use saga_test_support::system::{Hosts, REPLICATED, Replicas, System};

pub(crate) const ONE_OF_EACH: Replicas = Replicas { orchestrators: 1, services: 1 };
pub(crate) const TWO_ORCHESTRATORS: Replicas = Replicas { orchestrators: 2, services: 1 };

/// Environment of every role. The time-outs are shorter than a deployment's, so that a test sees
/// resends within seconds.
const SETTINGS: [(&str, &str); 3] = [
    ("SAGA_STEP_TIMEOUT_MILLIS", "1500"),
    ("SAGA_PROVIDER_SLOW_MILLIS", "800"),
    ("SAGA_PROVIDER_VERY_SLOW_MILLIS", "4000"),
];

/// Starts a system on the shared servers and tests it. When that fails, the ends of the roles' logs
/// are shown.
pub(crate) async fn with_system(
    replicas: Replicas,
    settings: &[(&str, &str)],
    test: impl AsyncFnOnce(&System) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    with_system_on(Hosts::Shared, replicas, settings, async |_| Ok(()), test).await
}

/// Like [`with_system`], but on these servers, and it prepares the roles before they start.
pub(crate) async fn with_system_on(
    hosts: Hosts,
    replicas: Replicas,
    settings: &[(&str, &str)],
    prepare: impl AsyncFnOnce(&mut System) -> anyhow::Result<()>,
    test: impl AsyncFnOnce(&System) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let settings = SETTINGS.iter().chain(settings);
    let options = Options {
        program: binary(),
        replicas,
        dir: dir.path().to_owned(),
        logs: dir.path().join("logs"),
        hosts,
        settings: settings.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    let mut system = System::new(options).await?;
    prepare(&mut system).await?;
    let result = async {
        system.start().await?;
        Box::pin(test(&system)).await
    };
    let result = result.await;
    if result.is_err() {
        eprintln!("{}", system.logs());
    }
    result
}

pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_saga"))
}
