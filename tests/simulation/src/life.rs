//! A process's life, from its start to its crash or stop.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use saga_core::CommandId;
use tokio::{sync::Notify, time::Instant};

use crate::{
    faults::Point,
    sim::{Sim, lock},
};

/// One run of a process. Every action of its ports goes through its life, so that a dead process
/// does nothing more, wherever its tasks are.
#[derive(Debug)]
pub(crate) struct Life {
    /// Name of the process.
    pub(crate) name: String,
    /// The simulation that it is part of.
    pub(crate) sim: Arc<Sim>,
    dead: AtomicBool,
    died: Notify,
    frozen_until: Mutex<Option<Instant>>,
    /// The steps that the process has found on record, by their actions. True if it never found one
    /// without its undo, so that it can tell none as done.
    pub(crate) undone: Mutex<BTreeMap<CommandId, bool>>,
}

impl Life {
    /// Starts a process.
    #[must_use]
    pub(crate) fn new(name: &str, sim: Arc<Sim>) -> Arc<Self> {
        sim.say(name, || "starts".to_owned());
        Arc::new(Self {
            name: name.to_owned(),
            sim,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            frozen_until: Mutex::default(),
            undone: Mutex::default(),
        })
    }

    /// Passes a point. The process may die there. While it is frozen or dead, it does not go on.
    pub(crate) async fn pass(&self, point: Point) {
        self.thaw().await;
        if self.sim.crashes(point) {
            self.kill(point.name());
            pending::<()>().await;
        }
    }

    /// Waits while the process is frozen, and for ever once it is dead.
    pub(crate) async fn thaw(&self) {
        loop {
            if self.is_dead() {
                pending::<()>().await;
            }
            let until = *lock(&self.frozen_until);
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) | None => return,
            }
        }
    }

    /// Lets time pass. In a dead process this never returns.
    pub(crate) async fn spend(&self, time: Duration) {
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        self.thaw().await;
    }

    /// Freezes the process for a while.
    pub(crate) fn freeze(&self, time: Duration) {
        self.sim.say(&self.name, || format!("stands still for {time:?}"));
        *lock(&self.frozen_until) = Some(Instant::now() + time);
    }

    /// Kills the process in the middle of its work.
    pub(crate) fn kill(&self, at: &str) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            self.sim.say(&self.name, || format!("DIES {at}"));
            self.died.notify_one();
        }
    }

    /// Returns whether the process has died.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Returns once the process has been killed.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// Writes an action of the process to the transcript.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        self.sim.say(&self.name, what);
    }
}
