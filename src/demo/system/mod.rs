//! The system on which the demo runs: one in this process, or one that runs elsewhere.

mod embedded;
mod running;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use tonic::transport::Channel;

use crate::{audit, config, roles::Role};
use embedded::InProcess;
use running::Joined;
pub(super) use running::Running;

/// Time limit for a role to start serving.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running system whose roles the demo can kill.
pub(super) struct System {
    roles: Roles,
    books: audit::Sources,
}

enum Roles {
    /// All roles of a system, in this process. They end with the demo.
    InProcess(InProcess),
    /// The roles that the demo has added to a running system. That system goes on after the demo.
    Joined(Joined),
}

impl System {
    /// Starts a system with its databases in a directory.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let books = audit::Sources::DataDir(dir.to_owned());
        Ok(Self { roles: Roles::InProcess(InProcess::start(dir).await?), books })
    }

    /// Joins a running system. The URLs of its databases come from the environment.
    pub(super) async fn join(running: &Running) -> anyhow::Result<Self> {
        let books = config::read(&config::process, |env| env.audit())?;
        let roles = Roles::Joined(Joined::start(running).await?);
        Ok(Self { roles, books: audit::Sources::Servers(books) })
    }

    /// Starts a role that was killed.
    pub(super) fn start_role(&self, role: Role) -> anyhow::Result<()> {
        match &self.roles {
            Roles::InProcess(roles) => roles.start_role(role),
            Roles::Joined(roles) => roles.start_role(role),
        }
    }

    /// Ends a role in the middle of its work, without notifying it.
    pub(super) fn kill(&self, role: Role) -> anyhow::Result<()> {
        match &self.roles {
            Roles::InProcess(roles) => roles.kill(role),
            Roles::Joined(roles) => roles.kill(role),
        }
    }

    /// Lets each role that the demo started finish the work that it has begun, and ends the role.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        match &self.roles {
            Roles::InProcess(roles) => roles.stop().await,
            Roles::Joined(roles) => roles.stop().await,
        }
    }

    /// Returns the addresses for clients: one for each orchestrator.
    pub(super) fn servers(&self) -> Vec<String> {
        match &self.roles {
            Roles::InProcess(roles) => vec![roles.server()],
            Roles::Joined(roles) => roles.servers(),
        }
    }

    /// Returns channels to all servers.
    pub(super) fn channels(&self) -> anyhow::Result<Vec<Channel>> {
        let channel = |url: &String| saga_cli::server(url).map(|endpoint| endpoint.connect_lazy());
        self.servers().iter().map(channel).collect::<Result<_, _>>().map_err(anyhow::Error::msg)
    }

    /// Returns a channel to the first server.
    pub(super) fn channel(&self) -> anyhow::Result<Channel> {
        self.channels()?.into_iter().next().context("a system has a server")
    }

    /// Makes the provider unavailable for this many seconds.
    pub(super) async fn provider_outage(&self, seconds: u64) -> anyhow::Result<()> {
        let provider = match &self.roles {
            Roles::InProcess(roles) => roles.provider(),
            Roles::Joined(roles) => roles.provider(),
        };
        let url = format!("{}/control/outage", provider.trim_end_matches('/'));
        let body = serde_json::json!({ "seconds": seconds });
        let answer = reqwest::Client::new().post(url).json(&body).send().await?;
        answer.error_for_status().context("the provider").map(drop)
    }

    /// Returns the location of the databases that the audit reads.
    pub(super) fn books(&self) -> &audit::Sources {
        &self.books
    }
}

/// Waits until a role accepts connections. Fails if the role ends first or takes too long.
async fn serves(role: Role, address: SocketAddr, dead: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        anyhow::ensure!(!dead(), "the {} ended while it was starting", role.title());
        let late = tokio::time::Instant::now() > deadline;
        anyhow::ensure!(!late, "the {} does not serve on {address}", role.title());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
