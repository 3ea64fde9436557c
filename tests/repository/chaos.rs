//! `scripts/chaos` reports missing tools before it builds.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::documents::root;

#[test]
fn who_may_not_run_chaos_is_told_before_anything_is_built() {
    let tools = tempfile::tempdir().expect("a directory");
    let built = tools.path().join("built");
    tool(tools.path(), "id", "echo 1000");
    tool(tools.path(), "cargo", &format!("touch {}; exit 1", built.display()));
    let path = std::env::var("PATH").expect("a PATH");
    let output = Command::new(root().join("scripts/chaos"))
        .args(["--minutes", "1"])
        .env("PATH", format!("{}:{path}", tools.path().display()))
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("run it as root"), "{told}");
    assert!(!built.exists(), "it was built first");
}

/// Creates a program that is found before the real one of the same name.
fn tool(dir: &Path, name: &str, script: &str) {
    let file = dir.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("executable");
}
