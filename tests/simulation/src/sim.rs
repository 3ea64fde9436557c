//! The state that everything in a run shares: chance, faults, time and the transcript.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use saga_core::Timestamp;
use saga_sqlite::Clock;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::{
    dice::Dice,
    faults::{Fault, Point, Rates},
};

/// The time on the databases' clocks when a run begins: 2026-01-01, in microseconds.
const EPOCH_MICROS: i64 = 1_767_225_600_000_000;

/// One run of the simulation.
#[derive(Debug)]
pub(crate) struct Sim {
    /// The source of chance.
    pub(crate) dice: Dice,
    rates: Mutex<Rates>,
    healed: AtomicBool,
    began: Instant,
    tally: Mutex<Tally>,
    violations: Mutex<Vec<String>>,
    violated: Notify,
    transcript: Option<Mutex<Vec<String>>>,
}

/// The numbers of faults that happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Faults by their kind.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Crashes by their point.
    pub(crate) points: BTreeMap<Point, u64>,
}

impl Sim {
    /// Creates a run. Must be called inside its runtime.
    #[must_use]
    pub(crate) fn new(dice: Dice, rates: Rates, transcribe: bool) -> Self {
        Self {
            dice,
            rates: Mutex::new(rates),
            healed: AtomicBool::new(false),
            began: Instant::now(),
            tally: Mutex::default(),
            violations: Mutex::default(),
            violated: Notify::new(),
            transcript: transcribe.then(Mutex::default),
        }
    }

    /// Draws whether this fault happens now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let strikes = self.dice.chance(lock(&self.rates).of(fault));
        if strikes {
            self.count(fault);
        }
        strikes
    }

    /// Counts a fault that is not drawn by its rate.
    pub(crate) fn count(&self, fault: Fault) {
        *lock(&self.tally).faults.entry(fault).or_default() += 1;
    }

    /// Draws whether a process dies at this point.
    pub(crate) fn crashes(&self, point: Point) -> bool {
        let crashes = self.strikes(Fault::CrashAtPoint);
        if crashes {
            *lock(&self.tally).points.entry(point).or_default() += 1;
        }
        crashes
    }

    /// Sets the rates of faults from now on.
    pub(crate) fn set_rates(&self, rates: Rates) {
        *lock(&self.rates) = rates;
    }

    /// Heals everything: there are no faults from now on.
    pub(crate) fn heal(&self) {
        self.say("world", || "healed: nothing goes wrong from now on".to_owned());
        *lock(&self.rates) = Rates::none();
        self.healed.store(true, Ordering::Relaxed);
    }

    /// Returns whether everything is healed.
    pub(crate) fn healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    /// Returns the time since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Creates an id of version 7, as processes do, but with this run's time and chance.
    pub(crate) fn uuid(&self) -> Uuid {
        let millis = (EPOCH_MICROS / 1_000) as u128 + self.elapsed().as_millis();
        let chance = self.dice.bits() & ((1 << 76) - 1);
        let (a, b) = (chance >> 64 & 0xfff, chance & ((1 << 62) - 1));
        Uuid::from_u128(millis << 80 | 0x7 << 76 | a << 64 | 0b10 << 62 | b)
    }

    /// Writes a line to the transcript, if there is one.
    pub(crate) fn say(&self, who: &str, what: impl FnOnce() -> String) {
        if let Some(transcript) = &self.transcript {
            let now = self.elapsed();
            let line = format!("{:>8.3} {who:<15} {}", now.as_secs_f64(), what());
            lock(transcript).push(line);
        }
    }

    /// Records a violation.
    pub(crate) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.say("VIOLATION", || what.clone());
        lock(&self.violations).push(what);
        self.violated.notify_one();
    }

    /// Returns once there is a violation.
    pub(crate) async fn first_violation(&self) {
        self.violated.notified().await;
    }

    /// Returns the violations so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// Returns the faults so far.
    pub(crate) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Returns the transcript so far.
    pub(crate) fn transcript(&self) -> Vec<String> {
        self.transcript.as_ref().map(|lines| lock(lines).clone()).unwrap_or_default()
    }
}

/// A database's clock, which can jump. Nothing reads a process's clock.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    began: Instant,
    offset: std::sync::Arc<AtomicI64>,
}

impl Watch {
    /// Creates a correct clock.
    #[must_use]
    pub(crate) fn new(sim: &Sim) -> Self {
        Self { began: sim.began, offset: std::sync::Arc::default() }
    }

    /// Makes the clock wrong by this many seconds.
    pub(crate) fn set_off(&self, seconds: i64) {
        self.offset.store(seconds * 1_000_000, Ordering::Relaxed);
    }

    /// Returns the time that the clock shows.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = self.began.elapsed().as_micros() as i64;
        Timestamp(EPOCH_MICROS + elapsed + self.offset.load(Ordering::Relaxed))
    }

    /// Returns the clock in the form that a database needs.
    #[must_use]
    pub(crate) fn clock(&self) -> Clock {
        let watch = self.clone();
        Clock::new(move || watch.now())
    }
}

/// Locks a mutex, even if another thread has panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
