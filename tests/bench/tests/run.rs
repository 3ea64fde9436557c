//! `scripts/bench --quick` with the release build: it starts a system and measures it, and the
//! results are plausible.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The output of a run, and the files that it wrote.
struct Ran {
    table: String,
    json: Value,
    svg: String,
}

/// Runs the built bench, on the servers of the environment or on new ones.
fn bench(name: &str, options: &[&str]) -> anyhow::Result<Ran> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_BIN_EXE_saga-bench")).ancestors().nth(2);
    let target = target.context("the target directory")?;
    let out = tempfile::tempdir()?;
    let ran = Command::new(root.join("scripts/bench"))
        .args(["--quick", "--no-build", name])
        .args(options)
        .env("CARGO_TARGET_DIR", target)
        .env("SAGA_BENCH_OUT", out.path())
        .output()?;
    let (table, told) = (String::from_utf8(ran.stdout)?, String::from_utf8_lossy(&ran.stderr));
    ensure!(ran.status.success(), "{}\n{table}\n{told}", ran.status);
    let read = |ending: &str| std::fs::read_to_string(out.path().join(format!("{name}.{ending}")));
    Ok(Ran { table, json: serde_json::from_str(&read("json")?)?, svg: read("svg")? })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Checks results that must hold for any system.
fn plausible(Ran { table, json, svg }: &Ran) -> anyhow::Result<()> {
    ensure!(json["addsUp"] == true && table.contains("It adds up"), "{table}");
    let loads = |name: &str| json[name].as_array().cloned().unwrap_or_default();
    let (levels, rates) = (loads("levels"), loads("rates"));
    ensure!(levels.len() == 2 && levels[0]["inFlight"] == 1 && levels[1]["inFlight"] == 64);
    ensure!(rates.len() == 2 && rates[1]["shareOfSaturation"] == 1.5, "{json}");
    let best = levels.iter().map(|l| number(&l["sagasPerSecond"])).fold(0.0, f64::max);
    for load in levels.iter().chain(&rates) {
        let rate = number(&load["sagasPerSecond"]);
        let local = number(&load["localTransactionsPerSaga"]);
        ensure!((5.0..=6.0).contains(&local), "{load}");
        let local_a_second = number(&load["localTransactionsPerSecond"]);
        ensure!((local_a_second - rate * local).abs() < 0.01, "{load}");
        let [p50, p90, p99, max] =
            ["p50", "p90", "p99", "max"].map(|name| number(&load["latencyMillis"][name]));
        ensure!(0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= max, "{load}");
        let of_floor = number(&load["ratios"]["ofFloor"]);
        ensure!(of_floor < 1.0, "nobody is faster than the floor: {load}");
    }
    for level in &levels {
        ensure!(number(&level["sagasPerSecond"]) > 0.0, "{level}");
        ensure!(number(&level["cpuMillisPerSaga"]["total"]) > 0.0, "{level}");
    }
    for rate in &rates {
        // Every order that was due in that second was placed, however busy this machine was.
        let (offered, sent) = (number(&rate["offeredPerSecond"]), number(&rate["sent"]));
        ensure!((sent - offered).abs() <= 1.5 && rate["heldBack"] == 0, "{rate}");
    }
    let offered = number(&rates[0]["offeredPerSecond"]);
    ensure!((offered / best - 0.7).abs() < 0.01, "0.7 of {best}: {}", rates[0]);
    let limits = &json["limits"];
    let local = number(&limits["floor"]["localTransactionsPerSaga"]);
    ensure!((5.5..=6.0).contains(&local), "as its rows say: {limits}");
    ensure!(limits["floor"]["commitsPerBatch"] == 13, "{limits}");
    // A saga's row is written six or seven times, and its history has as many rows.
    let rows = number(&limits["floor"]["rowsPerSaga"]);
    ensure!((25.0..=45.0).contains(&rows), "{limits}");
    let parts = limits["unavoidable"]["parts"].as_array().context("parts")?;
    let sum: f64 = parts.iter().map(|p| number(&p["count"]) * number(&p["millisEach"])).sum();
    ensure!((number(&limits["unavoidable"]["millis"]) - sum).abs() < 0.1, "{limits}");
    ensure!(number(&levels[0]["ratios"]["p50ToUnavoidable"]) > 0.0, "{}", levels[0]);
    for name in ["bench", "saga"] {
        ensure!(number(&json["memoryBytes"][name]) > 1e6, "{}", json["memoryBytes"]);
    }
    ensure!(svg.contains("completed sagas a second") && svg.contains("the floor: "), "{svg}");
    ensure!(svg.contains("latency in ms") && svg.contains("<polyline"), "{svg}");
    Ok(())
}

#[test]
fn a_quick_bench_of_the_embedded_system_is_plausible() -> anyhow::Result<()> {
    let ran = bench("embedded", &[])?;
    plausible(&ran)?;
    ensure!(ran.json["limits"]["broker"].is_null() && ran.json["eventsReceived"].is_null());
    Ok(())
}

#[test]
fn a_quick_bench_on_servers_is_plausible_and_its_events_are_heard() -> anyhow::Result<()> {
    let ran = bench("servers", &["--event-consumer"])?;
    plausible(&ran)?;
    let json = &ran.json;
    for name in ["postgres", "rabbitmq"] {
        ensure!(number(&json["memoryBytes"][name]) > 1e6, "{}", json["memoryBytes"]);
        ensure!(number(&json["levels"][1]["cpuMillisPerSaga"][name]) > 0.0, "{json}");
    }
    let (alone, many) = (&json["levels"][0], &json["levels"][1]);
    // Thirteen are expected, but Postgres counts a connection's commits up to a second late.
    let commits = number(&alone["commitsPerSaga"]);
    ensure!((4.0..=30.0).contains(&commits), "{alone}");
    ensure!(number(&alone["parcel"]["commands"]) < 1.2, "nobody shares a parcel: {alone}");
    ensure!(number(&many["parcel"]["commands"]) > 1.2, "they do: {many}");
    ensure!(number(&many["batch"]["replies"]) > number(&alone["batch"]["replies"]), "{json}");
    // Ten commands and replies, and six events.
    let messages = number(&alone["messagesPerSaga"]["total"]);
    ensure!((10.0..=24.0).contains(&messages), "{alone}");
    let broker = &json["limits"]["broker"];
    ensure!(number(&broker["messagesPerSecond"]) > number(&broker["sagasPerSecond"]), "{broker}");
    ensure!(number(&broker["events"]["messagesPerSaga"]) > 4.0, "{broker}");
    ensure!(number(&broker["commands"]["members"]) >= 1.0, "{broker}");
    ensure!(broker["eventsAreConsumed"] == true, "{broker}");
    let confirmed = json["catalogue"]["sold"].as_u64().context("sold")?;
    let events = json["eventsReceived"].as_u64().context("events")?;
    ensure!(events >= 6 * confirmed, "six events an order: {events} of {confirmed}");
    Ok(())
}
