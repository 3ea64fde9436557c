//! The payment service's connection to the provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use rusqlite::OptionalExtension as _;
use saga_core::{CommandId, SagaId};
use saga_payment::{Call, Lost, Wire};
use saga_provider::{InMemory, Settings};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    check::Checks,
    faults::{Fault, Point},
    life::Life,
    sim::{Sim, Watch, lock},
    transport::short,
};

/// The share of the holds with a lost answer whose repetitions are lost, too.
const DEAF: f64 = 0.5;
/// The time for which they are. A client repeats a call at once, and a saga much later.
const DEAF_FOR: Duration = Duration::from_millis(200);

/// The provider. It is a third party: it never crashes, but it can be away.
#[derive(Clone)]
pub(crate) struct SimProvider {
    /// Its calls, rules and ledger.
    pub(crate) ledger: InMemory,
    away_until: Arc<Mutex<Option<Instant>>>,
    checks: Arc<Checks>,
    /// Takes the sagas whose hold was asked for without an answer.
    unheard: mpsc::UnboundedSender<SagaId>,
}

impl SimProvider {
    /// Creates a provider with an empty ledger.
    ///
    /// # Panics
    /// If there is no memory for a database.
    #[must_use]
    pub(crate) fn new(
        sim: &Arc<Sim>,
        clock: &Watch,
        checks: Arc<Checks>,
        unheard: mpsc::UnboundedSender<SagaId>,
    ) -> Self {
        let settings = Settings {
            slow_after: Duration::from_millis(1_500),
            very_slow_after: Duration::from_secs(20),
            down_attempts: 2,
            ..Settings::new("")
        };
        let ids = Arc::clone(sim);
        let ledger = InMemory::new(&settings, move || ids.uuid(), clock.clock());
        let ledger = ledger.expect("a database in memory");
        Self { ledger, away_until: Arc::default(), checks, unheard }
    }

    /// Makes the provider unavailable for a while.
    pub(crate) fn go_away(&self, time: Duration) {
        let until = lock(&self.away_until).max(Some(Instant::now() + time));
        *lock(&self.away_until) = until;
    }

    fn away(&self) -> bool {
        lock(&self.away_until).is_some_and(|until| until > Instant::now())
    }

    async fn ask(&self, call: &Call) -> Option<(u16, Vec<u8>)> {
        let post = call.post.as_ref().map(|(key, body)| (key.as_str(), &body[..]));
        let answer = self.ledger.ask(&call.path_and_query, post).await;
        if let Some(saga) = capture(call) {
            // The answer may be lost, although the money was taken.
            let key = post.map(|(key, _)| key);
            let read = self.ledger.database().read(|ledger| {
                let sql = "SELECT payment_id FROM ledger WHERE kind = 'captured' AND idempotency_key = ?1";
                ledger.query_row(sql, [key], |row| row.get::<_, String>(0)).optional()
            });
            if let Ok(Some(payment)) = read.await {
                self.checks.captured(saga, &payment);
            }
        }
        answer
    }
}

/// A payment process's connection to the provider.
pub(crate) struct SimWire {
    provider: SimProvider,
    life: Arc<Life>,
    /// The requests that are under way, by path and key.
    under_way: Arc<Mutex<BTreeSet<(String, String)>>>,
    /// Commands whose answers are lost until then.
    deaf: Mutex<BTreeMap<CommandId, Instant>>,
}

impl SimWire {
    /// Connects a process.
    #[must_use]
    pub(crate) fn new(provider: SimProvider, life: Arc<Life>) -> Self {
        Self { provider, life, under_way: Arc::default(), deaf: Mutex::default() }
    }

    /// Notes a request, until the result is dropped. A process has one at a time for a command.
    /// Only a hold may be released by two commands at once: by its undo, and by the action that
    /// came too late.
    fn begin(&self, call: &Call) -> Option<UnderWay> {
        let (key, _) = call.post.as_ref().filter(|_| !call.path_and_query.ends_with("/cancel"))?;
        let request = (call.path_and_query.clone(), key.clone());
        if !lock(&self.under_way).insert(request.clone()) {
            self.life.sim.violated(format!("{}: two calls at once: {request:?}", self.life.name));
        }
        Some(UnderWay { request, all: Arc::clone(&self.under_way) })
    }

    async fn exchange(&self, call: &Call) -> Result<(u16, Vec<u8>), Lost> {
        let _under_way = self.begin(call);
        let (life, sim) = (&self.life, &self.life.sim);
        life.pass(Point::BeforeCall).await;
        let key = call.post.as_ref().map_or(String::new(), |(key, _)| short(key));
        let no_answer = |why: &str| {
            life.say(|| format!("{} {} {key}: {why}", call.method(), path(call)));
            Lost::NoAnswer(why.to_owned())
        };
        let asked = hold(call).map(|id| id.saga);
        let asked = || asked.into_iter().for_each(|id| self.provider.checks.asked_for_hold(id));
        if self.provider.away() {
            if sim.dice.chance(0.5) {
                asked();
                return Ok((503, b"{}".to_vec()));
            }
            life.say(|| format!("{} {} {key}: away", call.method(), path(call)));
            return Err(Lost::NotSent("away".to_owned()));
        }
        asked();
        if sim.strikes(Fault::CallLost) {
            return Err(no_answer("never arrives"));
        }
        if sim.strikes(Fault::CallLate) {
            let (provider, call, late) =
                (self.provider.clone(), call.clone(), sim.dice.millis(500..=40_000));
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                provider.ask(&call).await;
            });
            if sim.dice.chance(0.5) {
                return Err(no_answer("arrives later"));
            }
            pending::<()>().await;
        }
        let time = if sim.strikes(Fault::SlowAnswer) {
            sim.dice.millis(200..=5_000)
        } else {
            sim.dice.millis(1..=5)
        };
        life.spend(time).await;
        let answer = self.provider.ask(call).await;
        life.pass(Point::AfterCall).await;
        let deaf = self.is_deaf_to(call);
        match answer {
            Some(answer) if !deaf && !sim.strikes(Fault::AnswerLost) => {
                life.say(|| format!("{} {} {key}: {}", call.method(), path(call), answer.0));
                Ok(answer)
            }
            Some(_) | None => {
                self.may_stay_deaf_to(call);
                Err(no_answer("the answer is lost"))
            }
        }
    }

    /// True if a hold's answer was lost, and so are those to the repetitions that follow at once.
    fn is_deaf_to(&self, call: &Call) -> bool {
        let deaf = lock(&self.deaf);
        hold(call).is_some_and(|id| deaf.get(&id).is_some_and(|until| *until > Instant::now()))
    }

    /// Loses some holds' answers for good. Their clients do not wait either: what the provider
    /// holds for such an order must be found by its undo, before its saga has asked again.
    fn may_stay_deaf_to(&self, call: &Call) {
        if let Some(id) = hold(call)
            && !self.is_deaf_to(call)
            && self.life.sim.dice.chance(DEAF)
        {
            lock(&self.deaf).insert(id.clone(), Instant::now() + DEAF_FOR);
            // In a test of single steps nobody waits.
            let _ = self.provider.unheard.send(id.saga);
        }
    }
}

/// A request that is under way.
struct UnderWay {
    request: (String, String),
    all: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.request);
    }
}

/// The command that asks for a hold, if that is what the call does.
fn hold(call: &Call) -> Option<CommandId> {
    let (key, _) = call.post.as_ref().filter(|_| call.path_and_query == "/v1/payments")?;
    key.parse().ok()
}

/// The saga, if the call captures its payment.
fn capture(call: &Call) -> Option<SagaId> {
    let (key, _) = call.post.as_ref().filter(|_| call.path_and_query.ends_with("/capture"))?;
    key.parse().ok().map(|id: CommandId| id.saga)
}

/// Returns the path without its query, because the query holds a key.
fn path(call: &Call) -> &str {
    call.path_and_query.split('?').next().unwrap_or_default()
}

impl Wire for SimWire {
    fn send<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(u16, Vec<u8>), Lost>> {
        Box::pin(self.exchange(call))
    }
}
