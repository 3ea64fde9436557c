//! A private PostgreSQL server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::{OwnedChild, send};
use crate::installed;
use crate::ports::free_port;
use crate::process::{append_to, end_of};
use crate::reaper::{self, LastSignal};
use crate::wait::poll;

/// Maximum number of connections: enough for the pools and the other connections of all tests on
/// one server.
const MAX_CONNECTIONS: u32 = 300;
/// Time limit for starting. Recovery after a kill under load takes seconds, and longer on a busy
/// machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time limit for a fast shutdown, which ends all sessions and writes a checkpoint.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// Time limit for a killed server's child processes to disappear. They are killed too.
const CHILDREN_GONE_WITHIN: Duration = Duration::from_secs(10);
/// Attempts to start one server before the failure is reported.
const MOST_STARTS: u32 = 3;

/// A temporary PostgreSQL server on its own port, with its data in a temporary folder. `fsync` is
/// on, so data that survives a kill here would survive it in production. Dropping it stops the
/// server and removes the data.
#[derive(Debug)]
pub struct Postgres {
    /// The server's process. `None` from a kill or a stop until the next start. Dropped before
    /// `folder`.
    server: Mutex<Option<OwnedChild>>,
    programs: PathBuf,
    account: Account,
    port: u16,
    /// Environment variables of the server, in addition to its own.
    environment: BTreeMap<String, String>,
    folder: TempDir,
}

impl Postgres {
    /// Creates a database cluster, starts the server, and waits until it accepts connections.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_in(&std::env::temp_dir(), BTreeMap::new())
    }

    /// Like [`Self::start`], but with the folder in `parent` and with additional environment
    /// variables.
    pub fn start_in(parent: &Path, environment: BTreeMap<String, String>) -> anyhow::Result<Self> {
        let programs = installed::postgres_programs()?;
        let account = Account::for_postgres()?;
        let folder = tempfile::Builder::new().prefix("saga-test-postgres-").tempdir_in(parent)?;
        reaper::remove(folder.path())?;
        account.own(folder.path())?;
        let server = Mutex::new(None);
        let postgres = Self { server, programs, account, port: free_port(), environment, folder };
        postgres.make_cluster()?;
        postgres.restart()?;
        Ok(postgres)
    }

    /// Returns the URL of a database, for the superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Returns the port, which stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the process id of the server (its postmaster), unless it is down.
    pub fn pid(&self) -> Option<u32> {
        self.server().as_ref().map(OwnedChild::pid)
    }

    /// Kills the server and all of its processes with SIGKILL, and waits until they are gone.
    pub fn kill9(&self) -> anyhow::Result<()> {
        match self.server().take() {
            Some(server) => kill_with_children(server),
            None => Ok(()),
        }
    }

    /// Stops the server in the regular way (SIGINT). Kills it if that takes too long.
    pub fn stop(&self) -> anyhow::Result<()> {
        let Some(mut server) = self.server().take() else {
            return Ok(());
        };
        // A paused server reacts to the signal only after it is resumed.
        server.signal(Signal::INT)?;
        server.signal(Signal::CONT)?;
        match server.wait(STOPPED_WITHIN)? {
            Some(_) => Ok(()),
            None => kill_with_children(server),
        }
    }

    /// Starts the server again on the same port and data, and waits until it accepts connections. A
    /// running server is stopped first.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.stop()?;
        let mut failure = anyhow::anyhow!("never started");
        for _ in 0..MOST_STARTS {
            // The processes of the last start are gone, so the lock file is stale. If another
            // process has its process id by now, the file would keep the server from starting.
            let _ = fs::remove_file(self.data().join("postmaster.pid"));
            match self.start_once() {
                Ok(server) => {
                    *self.server() = Some(server);
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
        Err(failure.context(format!("PostgreSQL did not start, in {MOST_STARTS} tries")))
    }

    /// Stops the server and keeps a copy of its data, as a snapshot of its disk would.
    pub fn save(&self) -> anyhow::Result<()> {
        self.stop()?;
        self.copy(&self.data(), &self.saved())
    }

    /// Stops the server and puts the copy in the place of its data.
    pub fn put_back(&self) -> anyhow::Result<()> {
        self.stop()?;
        self.copy(&self.saved(), &self.data())
    }

    /// Stops the server, starts it as a standby and promotes it, as a failover would.
    pub fn fail_over(&self) -> anyhow::Result<()> {
        self.stop()?;
        let signal = self.data().join("standby.signal");
        fs::write(&signal, "")?;
        self.account.own(&signal)?;
        self.restart()?;
        let mut promote = self.command("pg_ctl");
        promote.args(["promote", "--wait", "--silent", "--pgdata"]).arg(self.data());
        ensure!(promote.status()?.success(), "the standby was not promoted");
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
        ensure!(copied.success(), "{} was not copied", from.display());
        Ok(())
    }

    fn start_once(&self) -> anyhow::Result<OwnedChild> {
        let log_file = self.folder.path().join("postgres.log");
        let log = append_to(&log_file)?;
        let mut command = self.command("postgres");
        command.envs(&self.environment).arg("-D").arg(self.data());
        for setting in [
            format!("port={}", self.port),
            format!("max_connections={MAX_CONNECTIONS}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
            // Shared memory is in the data folder, because a killed server leaves files behind in
            // /dev/shm.
            "dynamic_shared_memory_type=mmap".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        // The server gets its own process group: an interrupt from the terminal must reach only the
        // tests.
        command.process_group(0);
        let mut server = OwnedChild::spawn(&mut command, LastSignal::Quit)?;
        match self.wait_until_ready(&mut server) {
            Ok(()) => Ok(server),
            Err(error) => {
                kill_with_children(server)?;
                Err(error.context(format!("its log ends so:\n{}", end_of(&log_file, 20))))
            }
        }
    }

    fn wait_until_ready(&self, server: &mut OwnedChild) -> anyhow::Result<()> {
        let ready = poll(READY_WITHIN, || match server.ended() {
            Ok(Some(status)) => Some(Err(anyhow::anyhow!("it ended at once: {status}"))),
            Err(error) => Some(Err(error)),
            Ok(None) => self.accepts().then_some(Ok(())),
        });
        ready.unwrap_or_else(|| bail!("it accepts no connection after {READY_WITHIN:?}"))
    }

    /// Returns whether the server runs and accepts connections.
    pub fn accepts(&self) -> bool {
        let mut command = self.command("pg_isready");
        command.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", "2"]);
        command.status().is_ok_and(|status| status.success())
    }

    fn make_cluster(&self) -> anyhow::Result<()> {
        let mut command = self.command("initdb");
        // `--no-sync` speeds up only the creation of the cluster; the running server does sync.
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        command.args(["--no-sync", "--pgdata"]).arg(self.data());
        let output = command.output().context("cannot run initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Creates a command for one of the server's programs, under the server's account and without
    /// our environment variables.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear().env("LANG", "C.UTF-8").env("PATH", "/usr/bin:/bin");
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        self.account.run(&mut command);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn saved(&self) -> PathBuf {
        self.folder.path().join("saved")
    }

    fn server(&self) -> MutexGuard<'_, Option<OwnedChild>> {
        self.server.lock().expect("nobody panics while holding it")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A failure cannot be returned from here. The reaper will try again.
        let _ = self.stop();
    }
}

/// The account that runs the server, which refuses to run as root.
#[derive(Clone, Copy, Debug)]
enum Account {
    /// Our own account, because we are not root.
    Ours,
    /// The user `postgres`, which the Debian package creates, because we are root.
    Postgres { uid: u32, gid: u32 },
}

impl Account {
    fn for_postgres() -> anyhow::Result<Self> {
        if !rustix::process::getuid().is_root() {
            return Ok(Self::Ours);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let ids = users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields.as_slice() {
                ["postgres", _, uid, gid, ..] => Some((uid.parse().ok()?, gid.parse().ok()?)),
                _ => None,
            }
        });
        let (uid, gid) = ids.context(
            "PostgreSQL refuses to run as root, and there is no user `postgres` to run it as: \
             apt-get install postgresql",
        )?;
        Ok(Self::Postgres { uid, gid })
    }

    fn own(self, folder: &Path) -> anyhow::Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Postgres { uid, gid } => Ok(chown(folder, Some(uid), Some(gid))?),
        }
    }

    fn run(self, command: &mut Command) {
        match self {
            Self::Ours => {}
            Self::Postgres { uid, gid } => {
                command.uid(uid).gid(gid);
            }
        }
    }
}

/// Kills a server with its child processes. They would end by themselves, but some of them late,
/// and the next start fails while one of them still holds the shared memory.
fn kill_with_children(mut server: OwnedChild) -> anyhow::Result<()> {
    // Sending fails if the child has ended by itself meanwhile, which is fine.
    server.signal(Signal::STOP)?;
    let children = children_of(server.pid())?;
    server.kill9()?;
    for child in &children {
        // Sending fails if the child has ended by itself meanwhile, which is fine.
        let _ = send(*child, Signal::KILL);
    }
    let gone = poll(CHILDREN_GONE_WITHIN, || {
        children.iter().all(|child| parent_of_living(*child).is_none()).then_some(())
    });
    gone.with_context(|| format!("PostgreSQL's processes {children:?} outlive SIGKILL"))
}

fn children_of(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if parent_of_living(pid) == Some(parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Returns the parent of a process, or `None` if the process is gone. A zombie counts as gone,
/// because it holds no resources.
fn parent_of_living(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z").then_some(parent)
}
