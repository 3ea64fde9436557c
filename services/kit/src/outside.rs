//! Calls to the outside world: outside any transaction, side by side. Each settles by itself, so
//! that a slow one delays no other. A command has one call at a time in a process: a copy of it that
//! comes meanwhile waits for the same answer.

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

/// A call that came back.
pub(crate) enum Found {
    /// The outside world answered.
    Finding {
        /// Index of the handler.
        handler: usize,
        /// The command.
        member: Member,
        /// For its handler's `settle`.
        finding: AnyFinding,
    },
    /// The outside world now holds nothing of an action that came too late.
    Retracted(Member),
    /// No answer: the saga will ask again.
    Nothing(Member),
    /// Nothing was sent: the saga will ask again.
    NotSent(Member),
}

/// The calls under way.
pub(crate) struct Calls {
    found: mpsc::UnboundedSender<Found>,
    places: Places,
    under_way: Arc<UnderWay>,
    running: TaskTracker,
    /// Cancels the calls when it is dropped, for example with the participant's future.
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

    /// Asks. [`limits::MAX_CALLS`] bounds the number of calls that run at once, and
    /// [`limits::MAX_WAIT`] the time for which one waits for its turn.
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

    /// Makes sure that the outside world holds nothing of an action.
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

    /// Ends a call that was settled, and returns the copies that have joined it.
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
            // A command whose call is cancelled is not acknowledged. It comes again, and its
            // recorded intent leads to a look-up.
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

/// One of those commands.
struct Asking {
    hash: [u8; 16],
    /// Its calls: two while an action is retracted whose own call is being settled.
    calls: usize,
    /// The time at which its latest copy arrived.
    asked: Instant,
    /// The copies.
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
            // With another payload it is a conflict, which its record shows.
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

    /// Waits for a place, for as long as the latest copy of the command may wait.
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
        // Nothing panics while holding the lock; if it did, the map would still be sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nothing(member: &Member, error: &CallError) {
    counter!("saga_participant_calls_failed_total").increment(1);
    let trace_id = member.trace_id();
    warn!(saga = %member.id().saga, command = %member.id(), trace_id, %error, "no answer from outside: the saga will ask again");
}
