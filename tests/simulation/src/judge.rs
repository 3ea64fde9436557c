//! The verdict on a run, once every saga has ended.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use saga_core::{SagaId, State};
use saga_messaging::Queue;

use crate::{
    audit::{self, Expected},
    sim::lock,
    stranger::delete_unreadable,
    world::World,
};

impl World {
    /// Checks what must hold once every saga has ended. The audit's equations expect `orders`
    /// orders. Without a number they are not checked, because a test has then answered in a
    /// participant's place, and those answers are not on record.
    pub(crate) async fn judge(&self, ended: bool, orders: Option<usize>) {
        let accepted: BTreeSet<SagaId> = lock(&self.asked.accepted).iter().copied().collect();
        let sagas: BTreeSet<SagaId> = self.checks.sagas().iter().map(|saga| saga.id).collect();
        let odd = accepted.symmetric_difference(&sagas).filter(|id| !self.checks.touched(**id));
        for id in odd {
            let known = if accepted.contains(id) { "accepted, and lost" } else { "not asked for" };
            self.sim.violated(format!("saga {id} was {known}"));
        }
        if !ended {
            return;
        }
        self.checks.unheard();
        self.checks.flooded();
        delete_unreadable(self).await;
        self.judge_the_quarantine().await;
        if let Some(orders) = orders {
            let quarantined = self.checks.quarantined().len();
            let offenders = audit::offenders(self, &Expected { orders, quarantined }).await;
            if self.checks.lost_commits() {
                // The databases differ, as a restore lets them.
                self.differences.store(offenders.len() as u64, Ordering::Relaxed);
            } else {
                offenders.into_iter().for_each(|offender| self.sim.violated(offender));
            }
        }
        for saga in self.checks.sagas() {
            let undone = saga.phase.state() == State::Compensated;
            let lost = self.checks.touched(saga.id);
            if lock(&self.cancelled).contains(&saga.id) && !undone && !lost {
                self.sim
                    .violated(format!("the cancel of {} was accepted, and it went on", saga.id));
            }
        }
        for participant in ["order", "inventory", "payment"] {
            let queue = Queue::Commands { participant: participant.to_owned() };
            self.empty(&queue);
        }
        self.empty(&Queue::Replies);
        self.empty(&Queue::Quarantine);
    }

    /// Checks that the quarantine has exactly the messages that nobody could handle.
    async fn judge_the_quarantine(&self) {
        if self.checks.lost_commits() {
            return;
        }
        let read = self.databases.orchestrator.read(|database| {
            let mut ids = database.prepare("SELECT id FROM quarantine")?;
            ids.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<BTreeSet<String>>>()
        });
        match read.await {
            Ok(kept) if kept == self.checks.quarantined() => {}
            Ok(kept) => {
                let due = self.checks.quarantined();
                let differ: Vec<_> = kept.symmetric_difference(&due).collect();
                self.sim.violated(format!("kept, or missing, in the quarantine: {differ:?}"));
            }
            Err(failure) => self.sim.violated(format!("the quarantine cannot be read: {failure}")),
        }
    }

    fn empty(&self, queue: &Queue) {
        let depth = self.broker.depth(queue);
        if depth > 0 {
            self.sim.violated(format!("{depth} messages are left in {queue:?}"));
        }
    }
}
