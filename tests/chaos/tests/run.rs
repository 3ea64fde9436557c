//! A short run of `scripts/chaos`, as part of every `scripts/test`. It expects the program `saga`
//! in the same folder as its own program.

use std::process::Command;

use serde_json::Value;

#[test]
fn two_minutes_of_faults_lose_and_double_nothing() {
    let report = chaos(&["--minutes", "2", "--seed", "1"]);
    let points = &report["crashPoints"];
    assert_eq!(points["hit"], points["of"], "{points}");
    assert!(report["accepted"].as_u64().is_some_and(|accepted| accepted > 500), "{report}");
    assert!(report["faultsInjected"].as_u64().is_some_and(|faults| faults > 25), "{report}");
}

/// Runs `saga-chaos`, checks that its verdict is good, and returns its report.
fn chaos(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_saga-chaos"))
        .args(arguments)
        .arg("--json")
        .output()
        .expect("saga-chaos runs");
    let (said, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{told}\n{said}", output.status);
    serde_json::from_str(&said).expect("one JSON object")
}
