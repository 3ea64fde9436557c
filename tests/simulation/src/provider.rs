//! The payment service's connection to the provider.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use saga_payment::{Call, Lost, Wire};
use saga_provider::{InMemory, Settings};
use tokio::time::Instant;

use crate::{
    faults::{Fault, Point},
    life::Life,
    sim::{Sim, Watch, lock},
    transport::short,
};

/// The provider. It is a third party: it never crashes, but it can be away.
#[derive(Clone)]
pub(crate) struct SimProvider {
    /// Its calls, rules and ledger.
    pub(crate) ledger: InMemory,
    away_until: Arc<Mutex<Option<Instant>>>,
}

impl SimProvider {
    /// Creates a provider with an empty ledger.
    ///
    /// # Panics
    /// If there is no memory for a database.
    #[must_use]
    pub(crate) fn new(sim: &Arc<Sim>, clock: &Watch) -> Self {
        let settings = Settings {
            slow_after: Duration::from_millis(1_500),
            very_slow_after: Duration::from_secs(20),
            down_attempts: 2,
            ..Settings::new("")
        };
        let ids = Arc::clone(sim);
        let ledger = InMemory::new(&settings, move || ids.uuid(), clock.clock());
        Self { ledger: ledger.expect("a database in memory"), away_until: Arc::default() }
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
}

impl SimWire {
    /// Connects a process.
    #[must_use]
    pub(crate) fn new(provider: SimProvider, life: Arc<Life>) -> Self {
        Self { provider, life }
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
        match answer {
            Some(answer) if !sim.strikes(Fault::AnswerLost) => {
                life.say(|| format!("{} {} {key}: {}", call.method(), path(call), answer.0));
                Ok(answer)
            }
            Some(_) | None => Err(no_answer("the answer is lost")),
        }
    }
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
