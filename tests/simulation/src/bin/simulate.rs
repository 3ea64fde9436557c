//! Runs seeds and says what came of them.

use std::io::Write as _;

use clap::Parser;
use saga_simulation::{Options, Planted, Summary, run};

/// Simulates the whole system, a run a seed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds, from 1 or from --from.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One seed only, with everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Nothing goes wrong.
    #[arg(long)]
    no_faults: bool,
    /// With a bug in it, which must be noticed.
    #[arg(long)]
    planted: Option<Planted>,
}

fn main() -> std::process::ExitCode {
    let Arguments { seeds, from, seed, no_faults, planted } = Arguments::parse();
    let mut out = std::io::stdout().lock();
    let mut summary = Summary::default();
    let transcribe = seed.is_some();
    let (first, last) = seed.map_or((from, from + seeds), |seed| (seed, seed + 1));
    let began = std::time::Instant::now();
    for seed in first..last {
        let outcome = run(seed, Options { transcribe, no_faults, planted });
        summary.add(&outcome);
        for line in &outcome.transcript {
            let _ = writeln!(out, "{line}");
        }
    }
    let took = began.elapsed().as_secs_f64();
    let rate = summary.seeds as f64 * 60.0 / took;
    // What was asked once takes no time worth telling, and is the same every time.
    if !transcribe {
        let _ = writeln!(out, "{took:.1} s, {rate:.0} seeds a minute");
    }
    let _ = write!(out, "{summary}");
    if summary.failed.is_empty() { 0.into() } else { 1.into() }
}
