//! Tests that processes and servers can be paused, stopped and killed, and that they end with the
//! test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use saga_test_support::process::{Launch, Spawned, Terminated, wait_until};

const SOON: Duration = Duration::from_secs(20);
const SIGKILL: i32 = 9;

#[test]
fn output_goes_to_one_log_file_over_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let launch = shell("greeter", "echo \"out $GREETING\"; echo err >&2", folder.path());
    for _ in 0..2 {
        let spawned = Spawned::start(&launch).expect("it starts");
        let status = spawned.wait(SOON).expect("it can be waited for");
        assert!(status.expect("it ends by itself").success());
        assert_eq!(spawned.log_file(), folder.path().join("greeter.log"));
    }
    let log = std::fs::read_to_string(folder.path().join("greeter.log")).expect("the log is there");
    assert_eq!(log, "out hello\nerr\nout hello\nerr\n");
}

#[test]
fn a_process_that_listens_to_sigterm_ends_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let launch = shell(
        "polite",
        "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done",
        folder.path(),
    );
    let spawned = Spawned::start(&launch).expect("it starts");
    wait_until("the trap", SOON, || spawned.log().is_ok_and(|log| log.contains("ready")));
    assert!(spawned.is_running().expect("it can be asked"));
    assert!(spawned.terminate(SOON).expect("it is asked to end").was_clean());
    assert!(!spawned.is_running().expect("it can be asked"));
}

#[test]
fn a_process_that_ignores_sigterm_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let launch =
        shell("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.05; done", folder.path());
    let spawned = Spawned::start(&launch).expect("it starts");
    wait_until("the trap", SOON, || spawned.log().is_ok_and(|log| log.contains("ready")));
    let ended = spawned.terminate(Duration::from_millis(200)).expect("it is asked to end");
    assert!(matches!(ended, Terminated::Killed), "{ended:?}");
}

#[test]
fn a_paused_process_writes_nothing_until_it_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let launch = shell("clock", "while :; do echo tick; sleep 0.01; done", folder.path());
    let spawned = Spawned::start(&launch).expect("it starts");
    let ticks = || spawned.log().map_or(0, |log| log.lines().count());
    wait_until("a first tick", SOON, || ticks() > 0);

    spawned.sigstop().expect("it is paused");
    wait_until("the pause", SOON, || state_of(spawned.pid()) == 'T');
    let paused_at = ticks();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ticks(), paused_at);
    assert!(spawned.is_running().expect("it can be asked"));

    spawned.sigcont().expect("it goes on");
    wait_until("another tick", SOON, || ticks() > paused_at);
}

#[test]
fn a_killed_process_is_gone_and_killing_it_again_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let spawned = Spawned::start(&shell("victim", "sleep 60", folder.path())).expect("it starts");
    assert_eq!(spawned.kill9().expect("it is killed").signal(), Some(SIGKILL));
    assert_eq!(spawned.kill9().expect("nothing happens").signal(), Some(SIGKILL));
    assert!(!is_there(spawned.pid()));
}

#[test]
fn a_dropped_process_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let spawned = Spawned::start(&shell("dropped", "sleep 60", folder.path())).expect("it starts");
    let pid = spawned.pid();
    drop(spawned);
    assert!(!is_there(pid));
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut launch = shell("nobody", "", folder.path());
    launch.program = "/nowhere/saga".into();
    let error = Spawned::start(&launch).expect_err("there is no such program");
    assert!(format!("{error:#}").contains("/nowhere/saga"), "{error:#}");
}

#[test]
fn servers_end_with_a_test_run_that_is_killed() {
    // The command ends when its standard input closes, which happens at the latest when this test
    // ends.
    let mut command =
        with_servers("echo \"$SAGA_TEST_POSTGRES_URL $SAGA_TEST_AMQP_URL\"; exec cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = command.spawn().expect("it starts");
    let output = run.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("it prints");
    let ports: Vec<u16> = line.split_whitespace().map(port_of).collect();
    assert_eq!(ports.len(), 2, "{line}");
    assert!(ports.iter().all(|port| accepts(*port)), "{line}");

    run.kill().expect("it is killed");
    run.wait().expect("it is gone");
    wait_until("its servers to end", SOON, || ports.iter().all(|port| !accepts(*port)));
}

#[test]
fn the_exit_code_of_the_command_is_passed_on() {
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -s KILL $$", 137)] {
        // Servers that the environment names are not started. They are not used either: these URLs
        // are invalid.
        let status = with_servers(script)
            .env("SAGA_TEST_POSTGRES_URL", "postgres://nowhere")
            .env("SAGA_TEST_AMQP_URL", "amqp://nowhere")
            .status()
            .expect("it runs");
        assert_eq!(status.code(), Some(expected), "{script}");
    }
}

fn with_servers(script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-servers"));
    command.args(["sh", "-c", script]);
    command.env_remove("SAGA_TEST_POSTGRES_URL").env_remove("SAGA_TEST_AMQP_URL");
    command
}

fn shell(name: &str, script: &str, log_dir: &Path) -> Launch {
    Launch {
        name: name.to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        log_dir: log_dir.to_owned(),
    }
}

fn port_of(url: &str) -> u16 {
    let after_host = url.split("127.0.0.1:").nth(1).expect("it is on loopback");
    let port = after_host.split('/').next().expect("a port follows");
    port.parse().expect("a port is a number")
}

fn accepts(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    let (_, after_name) = stat.rsplit_once(") ").expect("the name is in parentheses");
    after_name.chars().next().expect("a state follows")
}
