//! Checks that the dependencies of the program and of the bench build on systems other than Linux.
//! Our own code cannot be checked here, because this machine has no standard library for other
//! systems.

use std::process::Command;

use crate::documents::root;

/// Beginnings of the names of crates that build only for Linux, with the reasons.
const LINUX_ONLY: [(&str, &str); 3] = [
    ("procfs", "its build script ends with an error"),
    ("inotify", "the kernel's interface is not there"),
    ("io-uring", "the kernel's interface is not there"),
];
/// Beginnings of the names of crates that build only for Unix, with the reasons.
const UNIX_ONLY: [(&str, &str); 3] = [
    ("rustix", "processes and signals are other ones there"),
    ("nix", "the C library's functions are not there"),
    ("signal-hook", "signals are other ones there"),
];
/// Kinds of dependencies for `cargo tree`: those that the program contains, and all that are needed
/// to build it. Cargo resolves build dependencies for this machine.
const PROGRAM: &str = "normal,no-proc-macro";
const ALL: &str = "normal,build";

#[test]
fn what_the_program_depends_on_builds_on_a_mac() {
    assert_eq!(refused("aarch64-apple-darwin", ALL, &LINUX_ONLY), [""; 0]);
}

#[test]
fn what_the_program_depends_on_builds_on_windows() {
    let windows = "x86_64-pc-windows-msvc";
    assert_eq!(refused(windows, ALL, &LINUX_ONLY), [""; 0]);
    assert_eq!(refused(windows, PROGRAM, &UNIX_ONLY), [""; 0]);
}

#[test]
fn a_crate_that_is_refused_elsewhere_is_found_where_it_is_used() {
    for (name, known) in [("procfs v", &LINUX_ONLY), ("rustix v", &UNIX_ONLY)] {
        let found = refused("x86_64-unknown-linux-gnu", PROGRAM, known);
        assert!(found.iter().any(|line| line.starts_with(name)), "{found:?}");
    }
}

/// Returns the packages that the target needs but that do not build for it.
fn refused(target: &str, edges: &str, known: &[(&str, &str)]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            "saga",
            "--package",
            "saga-bench",
            "--edges",
            edges,
        ])
        .args(["--prefix", "none", "--target", target])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree for {target}:\n{told}");
    let tree = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(tree.lines().any(|line| line.starts_with("tokio v")), "no tree:\n{tree}");
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(|line| {
            let (_, why) = known.iter().find(|(name, _)| line.starts_with(name))?;
            Some(format!("{} does not build for {target}: {why}", line.trim_end_matches(" (*)")))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}
