//! A system that runs elsewhere. The demo adds one orchestrator and one payment service to it, each
//! in its own process, and they take a share of the work. The demo kills only these two, so it
//! needs no access to the system's other processes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use tokio::process::{Child, Command};

use super::serves;
use crate::{child, config, roles::Role};

/// What a system that runs is, and how the demo takes part in it.
#[derive(clap::Args)]
pub(in crate::demo) struct Running {
    /// Play on a system that runs, through this orchestrator; the audit reads the databases that the environment names
    #[arg(
        long,
        value_name = "URL",
        value_parser = http,
        requires_all = ["provider", "orchestrator", "payment"],
        conflicts_with_all = ["data_dir", "keep"]
    )]
    pub(in crate::demo) server: Option<String>,
    /// Its payment provider, which must be `saga provider`: it can be told to be away
    #[arg(long, value_name = "URL", value_parser = http, requires = "server")]
    provider: Option<String>,
    /// A command that runs one more of its orchestrators, which is killed; half of the clients call it
    #[arg(long, value_name = "COMMAND", requires = "server")]
    orchestrator: Option<String>,
    /// A command that runs one more of its payment services, which is killed
    #[arg(long, value_name = "COMMAND", requires = "server")]
    payment: Option<String>,
}

fn http(text: &str) -> Result<String, String> {
    saga_cli::server(text).map(|_| text.to_owned())
}

/// The roles that the demo has added to a running system.
pub(in crate::demo) struct Joined {
    server: String,
    provider: String,
    commands: BTreeMap<Role, (String, SocketAddr)>,
    children: Mutex<BTreeMap<Role, Child>>,
}

impl Joined {
    /// Starts the roles that the demo will kill, and waits until they serve.
    pub(super) async fn start(running: &Running) -> anyhow::Result<Self> {
        let given =
            |value: &Option<String>, name| value.clone().with_context(|| format!("no --{name}"));
        let mut commands = BTreeMap::new();
        for (role, command) in
            [(Role::Orchestrator, &running.orchestrator), (Role::Payment, &running.payment)]
        {
            commands.insert(role, (given(command, role.name())?, child::free_address()?));
        }
        let joined = Self {
            server: given(&running.server, "server")?,
            provider: given(&running.provider, "provider")?,
            commands,
            children: Mutex::default(),
        };
        for (role, (_, address)) in &joined.commands {
            joined.start_role(*role)?;
            serves(*role, *address, || joined.is_dead(*role)).await?;
        }
        Ok(joined)
    }

    /// Starts a role that does not run.
    pub(super) fn start_role(&self, role: Role) -> anyhow::Result<()> {
        let (command, address) = self.command(role)?;
        let listen = format!("SAGA_{}_LISTEN", role.name().to_uppercase());
        let child = Command::new("sh")
            // With `exec` the child process is the role itself, not a shell that runs it.
            .args(["-c", &format!("exec {command}")])
            .env(listen, address.to_string())
            .env("SAGA_LOG", config::process("SAGA_LOG").unwrap_or_else(|| "error".to_owned()))
            // The address is for the metrics of the demo's own process, not for its child's.
            .env_remove("SAGA_METRICS_LISTEN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}, by sh", role.title()))?;
        self.children().insert(role, child);
        Ok(())
    }

    /// Kills a role with `kill -9`.
    pub(super) fn kill(&self, role: Role) -> anyhow::Result<()> {
        let child = self.children().remove(&role);
        let mut child = child.with_context(|| format!("{} does not run", role.title()))?;
        child.start_kill().with_context(|| format!("{} is dead already", role.title()))
    }

    /// Lets the demo's own roles finish the work that they have begun, and ends the roles.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        let children = std::mem::take(&mut *self.children());
        for mut child in children.into_values() {
            child::stop(&mut child).await?;
        }
        Ok(())
    }

    /// Returns the addresses of the system's orchestrator and of the demo's.
    pub(super) fn servers(&self) -> Vec<String> {
        let own = self.commands.get(&Role::Orchestrator);
        let own = own.map(|(_, address)| format!("http://{address}"));
        std::iter::once(self.server.clone()).chain(own).collect()
    }

    pub(super) fn provider(&self) -> String {
        self.provider.clone()
    }

    fn command(&self, role: Role) -> anyhow::Result<&(String, SocketAddr)> {
        self.commands
            .get(&role)
            .with_context(|| format!("the demo has no {} of its own", role.name()))
    }

    fn is_dead(&self, role: Role) -> bool {
        let mut children = self.children();
        children.get_mut(&role).is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    fn children(&self) -> std::sync::MutexGuard<'_, BTreeMap<Role, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
