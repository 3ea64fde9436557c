//! Runs seeds and reports the results.

use std::{
    io::Write as _,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

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
    /// How many seeds at once, each in one thread.
    #[arg(long, default_value_t = 1)]
    threads: usize,
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    let summary = match arguments.seed {
        Some(seed) => {
            let outcome = run(seed, arguments.options());
            for line in &outcome.transcript {
                let _ = writeln!(out, "{line}");
            }
            let mut summary = Summary::default();
            summary.add(&outcome);
            summary
        }
        None => {
            let began = Instant::now();
            let summary = many(&arguments);
            let took = began.elapsed().as_secs_f64();
            let rate = summary.seeds as f64 * 60.0 / took;
            let _ = writeln!(out, "{took:.1} s, {rate:.0} seeds a minute");
            summary
        }
    };
    let _ = write!(out, "{summary}");
    if summary.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the seeds in several threads. One thread runs the whole of a seed.
fn many(arguments: &Arguments) -> Summary {
    let next = AtomicU64::new(arguments.from);
    let last = arguments.from.saturating_add(arguments.seeds);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let outcome = run(seed, arguments.options());
                    summary.lock().unwrap_or_else(PoisonError::into_inner).add(&outcome);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            transcribe: self.seed.is_some(),
            no_faults: self.no_faults,
            planted: self.planted,
        }
    }
}
