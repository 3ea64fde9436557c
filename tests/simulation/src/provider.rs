//! The payment service's connection to the provider.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use saga_core::{CommandId, SagaId};
use saga_payment::{Call, Lost, Wire};
use saga_provider::{InMemory, Settings};
use tokio::{sync::mpsc, time::Instant};

use crate::{
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
        Self { ledger, away_until: Arc::default(), unheard }
    }

    /// Makes the provider unavailable for a while.
    pub(crate) fn go_away(&self, time: Duration) {
        *lock(&self.away_until) = Some(Instant::now() + time);
    }

    fn away(&self) -> bool {
        lock(&self.away_until).is_some_and(|until| until > Instant::now())
    }

    async fn ask(&self, call: &Call) -> Option<(u16, Vec<u8>)> {
        let post = call.post.as_ref().map(|(key, body)| (key.as_str(), &body[..]));
        self.ledger.ask(&call.path_and_query, post).await
    }
}

/// A payment process's connection to the provider.
pub(crate) struct SimWire {
    provider: SimProvider,
    life: Arc<Life>,
    /// Commands whose answers are lost until then.
    deaf: Mutex<BTreeMap<CommandId, Instant>>,
}

impl SimWire {
    /// Connects a process.
    #[must_use]
    pub(crate) fn new(provider: SimProvider, life: Arc<Life>) -> Self {
        Self { provider, life, deaf: Mutex::default() }
    }

    async fn exchange(&self, call: &Call) -> Result<(u16, Vec<u8>), Lost> {
        let (life, sim) = (&self.life, &self.life.sim);
        life.pass(Point::BeforeCall).await;
        let key = call.post.as_ref().map_or(String::new(), |(key, _)| short(key));
        let no_answer = |why: &str| {
            life.say(|| format!("{} {} {key}: {why}", call.method(), path(call)));
            Lost::NoAnswer(why.to_owned())
        };
        if self.provider.away() {
            if sim.dice.chance(0.5) {
                return Ok((503, b"{}".to_vec()));
            }
            life.say(|| format!("{} {} {key}: away", call.method(), path(call)));
            return Err(Lost::NotSent("away".to_owned()));
        }
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

    /// Loses some holds' answers for good. Their clients do not wait either: what the provider holds for
    /// such an order must be found by its undo, before its saga has asked again.
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

/// The command that asks for a hold, if that is what the call does.
fn hold(call: &Call) -> Option<CommandId> {
    let (key, _) = call.post.as_ref().filter(|_| call.path_and_query == "/v1/payments")?;
    key.parse().ok()
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
