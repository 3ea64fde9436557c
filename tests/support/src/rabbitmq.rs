//! A private RabbitMQ node, with a private epmd (Erlang's registry of nodes).

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lapin::{Connection, ConnectionProperties};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::OwnedChild;
use crate::installed;
use crate::ports::free_port;
use crate::process::{append_to, end_of};
use crate::reaper::{self, LastSignal};
use crate::wait::poll;

/// Time limit for starting, which takes about 5 s on a quiet machine and 30 s on a busy one.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Time limit for one AMQP handshake while the node is booting.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two handshakes; a refused connection costs the node nothing.
const BETWEEN_HANDSHAKES: Duration = Duration::from_millis(100);
/// Time limit for a clean shutdown, which takes about a second.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
/// Number of attempts to start before a failure is reported. epmd may take a moment to notice that
/// a killed node is gone, and refuses the node's name until then.
const MOST_STARTS: u32 = 3;

/// A temporary RabbitMQ node on its own ports, with its data in a temporary folder. Dropping it
/// stops the node and removes the data.
#[derive(Debug)]
pub struct RabbitMq {
    /// The node's process. `None` from a kill or a stop until the next start.
    broker: Mutex<Option<OwnedChild>>,
    /// The registry of nodes. It ends after the broker, because fields are dropped in their order.
    _epmd: OwnedChild,
    script: PathBuf,
    ports: Ports,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    amqp: u16,
    distribution: u16,
    epmd: u16,
}

impl RabbitMq {
    /// Starts a new, empty node and waits until it accepts AMQP connections.
    pub fn start() -> anyhow::Result<Self> {
        let script = installed::rabbitmq_server()?;
        let folder = tempfile::Builder::new().prefix("saga-test-rabbitmq-").tempdir()?;
        reaper::remove(folder.path())?;
        let ports = Ports { amqp: free_port(), distribution: free_port(), epmd: free_port() };
        // A node starts an epmd if none is running. That epmd would outlive the node, and no
        // process would end it.
        let mut epmd = Command::new(installed::epmd()?);
        epmd.args(["-port", &ports.epmd.to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let epmd = OwnedChild::spawn(&mut epmd, LastSignal::Kill)?;
        let rabbitmq = Self { broker: Mutex::new(None), _epmd: epmd, script, ports, folder };
        rabbitmq.write_settings()?;
        rabbitmq.restart()?;
        Ok(rabbitmq)
    }

    /// Returns the URL of the default virtual host, for the default user.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// Imports the users, permissions and policies that the broker of docker-compose.yml has.
    pub fn load_deployed_definitions(&self) -> anyhow::Result<()> {
        let mut command = self.program(&self.script.with_file_name("rabbitmqctl"));
        command
            // The command line tool is an Erlang node too, and must also use only the loopback
            // interface.
            .env("RABBITMQ_CTL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .args(["--quiet", "--timeout", "60", "import_definitions"])
            .arg(deployed("rabbitmq/definitions.json"));
        let output = command.output().context("cannot run rabbitmqctl")?;
        ensure!(
            output.status.success(),
            "the definitions were not taken: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Returns the URL that docker-compose.yml gives to this user, but with the address of this
    /// broker.
    pub fn deployed_url(&self, user: &str) -> anyhow::Result<String> {
        let file = deployed(&format!("secrets/{user}_amqp_url"));
        let url =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(url.trim().replace("@rabbitmq/", &format!("@127.0.0.1:{}/", self.ports.amqp)))
    }

    /// Returns the port for AMQP, which stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// Returns the process id of the broker's Erlang machine, unless it is down.
    pub fn pid(&self) -> Option<u32> {
        self.broker().as_ref().map(OwnedChild::pid)
    }

    /// Kills the broker with SIGKILL and waits until it is gone.
    pub fn kill9(&self) -> anyhow::Result<()> {
        match self.broker().take() {
            Some(mut broker) => broker.kill9().map(drop),
            None => Ok(()),
        }
    }

    /// Stops the broker in the regular way (SIGTERM). Kills it if that takes too long.
    pub fn stop(&self) -> anyhow::Result<()> {
        let Some(mut broker) = self.broker().take() else {
            return Ok(());
        };
        // A paused broker reacts to the signal only after it is resumed.
        broker.signal(Signal::TERM)?;
        broker.signal(Signal::CONT)?;
        match broker.wait(STOPPED_WITHIN)? {
            Some(_) => Ok(()),
            None => broker.kill9().map(drop),
        }
    }

    /// Starts the broker again on the same ports and data, and waits until it accepts AMQP
    /// connections. A running broker is stopped first.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.stop()?;
        let mut failure = anyhow::anyhow!("never started");
        for _ in 0..MOST_STARTS {
            match self.start_once() {
                Ok(broker) => {
                    *self.broker() = Some(broker);
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
        Err(failure.context(format!("RabbitMQ did not start, in {MOST_STARTS} tries")))
    }

    fn start_once(&self) -> anyhow::Result<OwnedChild> {
        let log_file = self.folder.path().join("console.log");
        let log = append_to(&log_file)?;
        let mut command = self.command();
        command.stdout(log.try_clone()?).stderr(log);
        let mut broker = OwnedChild::spawn(&mut command, LastSignal::Kill)?;
        match self.wait_until_ready(&mut broker) {
            Ok(()) => Ok(broker),
            Err(error) => {
                broker.kill9()?;
                Err(error.context(format!("its output ends so:\n{}", end_of(&log_file, 20))))
            }
        }
    }

    fn wait_until_ready(&self, broker: &mut OwnedChild) -> anyhow::Result<()> {
        let ready = poll(READY_WITHIN, || match broker.ended() {
            Ok(Some(status)) => Some(Err(anyhow::anyhow!("it ended at once: {status}"))),
            Err(error) => Some(Err(error)),
            Ok(None) => match handshake(&self.url()) {
                Ok(()) => Some(Ok(())),
                Err(_) => {
                    std::thread::sleep(BETWEEN_HANDSHAKES);
                    None
                }
            },
        });
        ready.unwrap_or_else(|| bail!("no AMQP handshake after {READY_WITHIN:?}"))?;
        must_be_erlang(broker.pid())
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let settings = format!(
            "listeners.tcp.default = 127.0.0.1:{}\n\
             disk_free_limit.absolute = 50MB\n\
             log.console = false\n\
             log.file.level = warning\n",
            self.ports.amqp
        );
        fs::write(self.settings_file(), settings)?;
        // The cookie is the password between nodes. Erlang would derive one from the time of day.
        let cookie = self.folder.path().join(".erlang.cookie");
        fs::write(&cookie, format!("{:016X}", crate::ports::random()))?;
        let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        fs::set_permissions(&cookie, only_owner).context("cannot protect Erlang's cookie")
    }

    /// Creates the command that starts the node.
    fn command(&self) -> Command {
        let mut command = self.program(&self.script);
        command
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            // With this variable the start script is replaced by the Erlang machine (exec) instead
            // of starting it as a child. So our child process is the broker itself, and SIGKILL
            // hits it.
            .env("RUNNING_UNDER_SYSTEMD", "true");
        command
    }

    /// Creates a command for one of RabbitMQ's programs, without our environment variables and
    /// without the machine's RabbitMQ settings.
    fn program(&self, script: &Path) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(script);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", folder)
            .env("RABBITMQ_NODENAME", format!("saga-test-{}@localhost", self.ports.amqp))
            .env("RABBITMQ_USE_LONGNAME", "false")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", "/dev/null")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", self.settings_file())
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("generated"))
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .current_dir(folder)
            .stdin(Stdio::null())
            // The broker gets its own process group: an interrupt from the terminal must reach only
            // the tests.
            .process_group(0);
        command
    }

    fn settings_file(&self) -> PathBuf {
        self.folder.path().join("rabbitmq.conf")
    }

    fn broker(&self) -> MutexGuard<'_, Option<OwnedChild>> {
        self.broker.lock().expect("nobody panics while holding it")
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // A failure cannot be returned from here. The reaper will try again.
        let _ = self.stop();
    }
}

/// Returns the path of a file in the folder `deploy`, which docker-compose.yml uses.
fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

/// Connects and disconnects once. Uses a new thread, because the caller may be inside a runtime.
fn handshake(url: &str) -> anyhow::Result<()> {
    let connecting = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        connection.close(200, "ready".into()).await
    };
    let on_its_own_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let bounded = async { tokio::time::timeout(HANDSHAKE_WITHIN, connecting).await };
        Ok(runtime.block_on(bounded)??)
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(on_its_own_thread);
        thread.join().unwrap_or_else(|_| bail!("the thread of the handshake panicked"))
    })
}

fn must_be_erlang(pid: u32) -> anyhow::Result<()> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    if !name.starts_with("beam") {
        bail!("process {pid} is {name:?}, not the Erlang machine: a kill would miss the broker");
    }
    Ok(())
}
