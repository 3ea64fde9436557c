//! Calls to the outside world. They run side by side and outside any transaction. Each is settled
//! by itself, so that a slow one delays no others. In one process, a command has one call at a
//! time: a copy of the command that comes during the call waits for the same answer.

use std::{
    collections::{HashMap, hash_map::Entry},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::counter;
use saga_core::{CommandId, Direction};
use saga_trace::within;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::{debug, warn};

use crate::{
    CallError, Priority,
    erased::{AnyFinding, Outside},
    limits,
    member::Member,
    places::{Place, Places},
};

/// The result of a call that has ended.
pub(crate) enum Found {
    /// The outside world answered.
    Finding {
        /// Index of the handler.
        handler: usize,
        /// The command that the call was for.
        member: Member,
        /// The finding, to be passed to the handler's `settle`.
        finding: AnyFinding,
    },
    /// The outside world now has no effect of an action that came too late.
    Retracted(Member),
    /// The call got no answer. The saga will send the command again.
    Nothing(Member),
    /// Nothing was sent to the outside world. The saga will send the command again.
    NotSent(Member),
}

/// The calls that are under way.
pub(crate) struct Calls {
    found: mpsc::UnboundedSender<Found>,
    places: Places,
    under_way: Arc<UnderWay>,
    running: TaskTracker,
    /// Cancels the calls when it is dropped, for example when the participant's future is dropped.
    stop: DropGuard,
}

impl Calls {
    pub(crate) fn new(found: mpsc::UnboundedSender<Found>) -> Self {
        Self {
            found,
            places: Places::new(limits::MAX_CALLS),
            under_way: Arc::default(),
            running: TaskTracker::new(),
            stop: CancellationToken::new().drop_guard(),
        }
    }

    /// Starts a call to the outside world. [`limits::MAX_CALLS`] bounds the number of calls that
    /// run at once, and [`limits::MAX_WAIT`] the time for which a call waits to run.
    pub(crate) fn ask<Tx: 'static>(
        &self,
        handler: &Arc<dyn Outside<Tx>>,
        place: usize,
        member: Member,
        question: AnyFinding,
    ) {
        let priority = match member.direction() {
            Direction::Action => handler.priority(),
            Direction::Compensation => Priority::Urgent,
        };
        let handler = Arc::clone(handler);
        self.spawn(member, priority, Found::NotSent, async move |member| {
            match within(member.context(), handler.call(member.id(), question)).await {
                Ok(finding) => Found::Finding { handler: place, member, finding },
                Err(error) => {
                    nothing(&member, &error);
                    match error {
                        CallError::NotSent(_) => Found::NotSent(member),
                        CallError::Unknown(_) => Found::Nothing(member),
                    }
                }
            }
        });
    }

    /// Starts a call that makes sure that the outside world has no effect of an action.
    pub(crate) fn retract<Tx: 'static>(&self, handler: &Arc<dyn Outside<Tx>>, member: Member) {
        let handler = Arc::clone(handler);
        self.spawn(member, Priority::Urgent, Found::Nothing, async move |member| {
            match within(member.context(), handler.retract(member.id())).await {
                Ok(()) => Found::Retracted(member),
                Err(error) => {
                    nothing(&member, &error);
                    Found::Nothing(member)
                }
            }
        });
    }

    /// Lets a copy of a command wait for the answer to the call that is under way. Returns the copy
    /// if there is no such call.
    pub(crate) fn join(&self, copy: Member) -> Option<Member> {
        self.under_way.join(copy)
    }

    /// Ends a call that was settled, and returns the copies of its command that have waited for it.
    pub(crate) fn end(&self, id: &CommandId) -> Vec<Member> {
        self.under_way.end(id)
    }

    fn spawn<F: Future<Output = Found> + Send>(
        &self,
        member: Member,
        priority: Priority,
        given_up: fn(Member) -> Found,
        call: impl FnOnce(Member) -> F + Send + 'static,
    ) {
        self.under_way.begin(&member);
        let (places, under_way) = (self.places.clone(), Arc::clone(&self.under_way));
        let (found, stop) = (self.found.clone(), self.stop.token().clone());
        self.running.spawn(async move {
            let asking = async {
                match under_way.turn(&places, priority, member.id()).await {
                    Some(_place) => call(member).await,
                    None => {
                        let trace_id = member.trace_id();
                        debug!(saga = %member.id().saga, command = %member.id(), trace_id, "waited for too long to be asked: the saga will ask again");
                        given_up(member)
                    }
                }
            };
            // A command whose call is cancelled is not acknowledged. It is delivered again, and
            // because its intent is recorded, the outcome is then looked up.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                came = asking => { let _ = found.send(came); }
            }
        });
    }

    /// Cancels the calls that are under way.
    pub(crate) fn stop(&self) {
        self.stop.token().cancel();
        self.running.close();
    }
}

/// The commands whose calls wait, run, or are being settled.
#[derive(Default)]
struct UnderWay(Mutex<HashMap<CommandId, Asking>>);

/// A command whose call is under way.
struct Asking {
    hash: [u8; 16],
    /// Number of the command's calls. It is two while an action is retracted whose own call is
    /// still being settled.
    calls: usize,
    /// Time at which the latest copy of the command arrived.
    asked: Instant,
    /// The copies of the command that wait for the answer.
    copies: Vec<Member>,
}

impl UnderWay {
    fn begin(&self, member: &Member) {
        let asked = Instant::now();
        match self.lock().entry(member.id().clone()) {
            Entry::Occupied(mut known) => {
                known.get_mut().calls += 1;
                known.get_mut().asked = asked;
            }
            Entry::Vacant(new) => {
                new.insert(Asking { hash: member.hash, calls: 1, asked, copies: Vec::new() });
            }
        }
    }

    fn join(&self, copy: Member) -> Option<Member> {
        match self.lock().get_mut(copy.id()) {
            Some(asking) if asking.hash == copy.hash => {
                asking.asked = Instant::now();
                asking.copies.push(copy);
                None
            }
            // A copy with another payload is a conflict. Its record shows that.
            Some(_) | None => Some(copy),
        }
    }

    fn end(&self, id: &CommandId) -> Vec<Member> {
        let mut under_way = self.lock();
        let Some(asking) = under_way.get_mut(id) else { return Vec::new() };
        asking.calls -= 1;
        if asking.calls > 0 {
            return Vec::new();
        }
        under_way.remove(id).map(|asking| asking.copies).unwrap_or_default()
    }

    /// Waits for a permit to call, for as long as the latest copy of the command may wait.
    async fn turn(&self, places: &Places, priority: Priority, id: &CommandId) -> Option<Place> {
        let mut place = pin!(places.take(priority));
        loop {
            let until = self.lock().get(id)?.asked + limits::MAX_WAIT;
            match timeout_at(until, &mut place).await {
                Ok(place) => return Some(place),
                Err(_) if self.lock().get(id)?.asked + limits::MAX_WAIT > until => {}
                Err(_) => return None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CommandId, Asking>> {
        // Nothing panics while holding the lock. If anything did, the map would still be valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nothing(member: &Member, error: &CallError) {
    counter!("saga_participant_calls_failed_total").increment(1);
    let trace_id = member.trace_id();
    warn!(saga = %member.id().saga, command = %member.id(), trace_id, %error, "no answer from outside: the saga will ask again");
}
