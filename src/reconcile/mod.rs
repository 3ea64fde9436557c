//! `saga reconcile`: brings the databases together after one of them went back.
//!
//! It reads them as `saga audit` does. It changes the orchestrator's database only through the
//! engine's port, by decisions of the functions that decide on every input; and the services only
//! by their own commands, under the commands' own ids. So a repeated run, and one beside a running
//! system, do no harm.
//!
//! Read first: [`run`], then `catch_up.rs`.

mod again;
mod catch_up;
mod command;
mod rebuild;
mod report;

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use saga_audit::{Ahead, Books, Divergences, Lost, LostHow, Stray};
use saga_core::{
    Admitted, Direction, Failure, Hosted, Instance, OutgoingCommand, SagaId, Timestamp,
};
use saga_engine::{Admission, IdempotencyKey, SagaReads as _, SagaStore as _, Write};
use saga_postgres::PoolSettings;
use saga_rabbitmq::RabbitMq;
use saga_store::postgres::{MIGRATIONS, SagaTable};
use tokio::task::spawn_blocking;

pub(crate) use command::{Command, run as command};

use crate::{
    audit::{self, Servers, collect_particulars},
    config::Broker,
    roles::broker_settings,
};
use again::Asking;
use catch_up::{BY, Known, catch_up, gaps};
use rebuild::{Rebuilt, rebuild};
use report::{Named, Report};

/// Pause before the databases are read again, to see what became of the commands.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time limit for the pivot of a saga that is begun again. It is decided at once.
const DEADLINE_MILLIS: u64 = 60_000;

/// What a person may do about a saga that cannot be told anything.
const LOOK_AT_IT: &str = "look at it: saga saga ID";

/// Settings of `saga reconcile`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The databases. The orchestrator's must be for the orchestrator itself.
    pub(crate) servers: Servers,
    /// The broker.
    pub(crate) broker: Broker,
    /// The definitions, and the versions under which forgotten sagas are begun again.
    pub(crate) hosted: Hosted,
}

/// Brings the databases together, as far as that goes. Changes nothing in a dry run.
///
/// # Errors
/// If a database or the broker cannot be used. What was done by then stays, and a further run
/// continues.
pub(crate) async fn run(settings: &Settings, dry_run: bool) -> anyhow::Result<Report> {
    let pool = PoolSettings { application: "saga reconcile".to_owned(), max_connections: 1 };
    let pool = saga_postgres::connect(&settings.servers.orchestrator.0, &pool).await?;
    saga_postgres::check(&pool, &[&MIGRATIONS]).await?;
    let mut run = Run {
        store: SagaTable::new(pool),
        hosted: settings.hosted.clone(),
        report: Report { dry_run, ..Report::default() },
        named: BTreeMap::new(),
        gaps: Vec::new(),
        open: Vec::new(),
        behind: None,
    };
    if dry_run {
        let (books, mut found) = look(&settings.servers).await?;
        run.catch_all_up(&found.ahead).await?;
        found.lost.append(&mut run.gaps);
        let mut asking = Asking::default();
        let ids = asking.round(&run.store, &run.hosted, &found.lost).await?;
        run.report.asked_again.extend(ids.into_iter().map(|command| command.id.to_string()));
        return run.finish(books, &found, &asking).await;
    }
    let broker = RabbitMq::connect(broker_settings(&settings.broker, "reconcile")).await;
    let broker = broker.context("the broker cannot be used")?;
    let done = run.all(&settings.servers, &broker).await;
    broker.close().await;
    done
}

/// Reads all databases.
async fn look(servers: &Servers) -> anyhow::Result<(Books, Divergences)> {
    let books = collect_particulars(servers).await?;
    spawn_blocking(move || {
        let found = books.divergences()?;
        anyhow::Ok((books, found))
    })
    .await
    .context("comparing")?
}

/// One run.
struct Run {
    store: SagaTable,
    hosted: Hosted,
    report: Report,
    /// What cannot be mended, by saga.
    named: BTreeMap<String, Named>,
    /// What sagas in progress wait for, although their participants went on from there.
    gaps: Vec<Lost>,
    /// What the sagas that were told something wait for now.
    open: Vec<OutgoingCommand>,
    /// The sagas that the first look found behind their participants. Those that a running system
    /// begins meanwhile are its own business.
    behind: Option<HashSet<String>>,
}

impl Run {
    /// Goes on until a look at the databases finds nothing more to do.
    async fn all(mut self, servers: &Servers, broker: &RabbitMq) -> anyhow::Result<Report> {
        let mut asking = Asking::default();
        loop {
            let (books, mut found) = look(servers).await?;
            let moved = self.catch_all_up(&found.ahead).await?;
            found.lost.append(&mut self.gaps);
            let mut commands = asking.round(&self.store, &self.hosted, &found.lost).await?;
            self.report.asked_again.extend(commands.iter().map(|c| c.id.to_string()));
            if !moved && commands.is_empty() && !asking.waits(&found.lost) {
                return self.finish(books, &found, &asking).await;
            }
            // A saga that was told something need not wait for its next wake. But what it waits for
            // may rest on something that has to be asked again first.
            let lost: HashSet<&str> = found.lost.iter().map(|lost| lost.saga.as_str()).collect();
            let sound = |command: &OutgoingCommand| !lost.contains(&*command.id.saga.to_string());
            commands.extend(self.open.drain(..).filter(sound));
            again::publish(broker, commands).await;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Lets sagas catch up with their participants. Returns true if any of them was moved.
    async fn catch_all_up(&mut self, ahead: &[Ahead]) -> anyhow::Result<bool> {
        let before = self.report.caught_up.len() + self.report.begun_again.len();
        let all = || ahead.iter().map(|one| one.saga.clone()).collect();
        let behind = self.behind.get_or_insert_with(all).clone();
        for one in ahead.iter().filter(|one| behind.contains(&one.saga)) {
            let id: SagaId = one.saga.parse().context("the id of a saga")?;
            let told = match self.bring_along(one, id).await {
                Ok(told) => told,
                // A row that does not decode, or that a peer has locked, holds up no other saga.
                Err(error) => match error.downcast_ref() {
                    Some(Failure::Permanent(why) | Failure::Conflict(why)) => {
                        Err(Named::new(&one.saga, why.clone(), LOOK_AT_IT))
                    }
                    Some(Failure::Unavailable(_) | Failure::UnknownCommit(_)) | None => {
                        return Err(error);
                    }
                },
            };
            match told {
                Ok(()) => self.named.remove(&one.saga),
                Err(named) => self.named.insert(one.saga.clone(), named),
            };
        }
        Ok(self.report.caught_up.len() + self.report.begun_again.len() > before)
    }

    /// Tells a saga what is on record, or begins it again.
    async fn bring_along(&mut self, one: &Ahead, id: SagaId) -> anyhow::Result<Result<(), Named>> {
        // The databases are read one after the other. By now the orchestrator may know it.
        Ok(match self.store.find(&[id]).await?.pop() {
            Some(saga) => self.tell(one, saga).await?,
            None => self.begin_again(one, id).await?,
        })
    }

    /// Tells a saga what is on record. The decision is made again under the row's lock.
    async fn tell(&mut self, one: &Ahead, saga: Instance) -> Result<Result<(), Named>, Failure> {
        let cancelled = one.order.as_ref().and_then(|order| {
            let by = order.caller.clone();
            order.cancelled.clone().map(|reason| saga_core::Wish { by, reason })
        });
        let known = Known {
            records: &one.records,
            begun_again: false,
            cancelled,
            replies: BTreeMap::new(),
        };
        let saga_definition = saga.definition.clone();
        let definition = self.hosted.get(&saga.definition, saga.definition_version).cloned();
        let Some(definition) = definition else {
            let to_do = "run the version of saga that hosts it";
            return Ok(Err(Named::new(&one.saga, "it runs under an unknown definition", to_do)));
        };
        let decide = |now: Timestamp, sagas: Vec<Instance>| {
            let (mut writes, mut waits, mut open) = (Vec::new(), Vec::new(), Vec::new());
            for saga in sagas {
                let before = saga.version;
                let (saga, history) = match catch_up(&*definition, saga, &known, now) {
                    Ok(told) => told,
                    Err(deaf) => return (Vec::new(), Err(deaf.to_string())),
                };
                waits.extend(gaps(&*definition, &saga, &one.records));
                if !history.is_empty() {
                    // A paused saga sends nothing.
                    if saga.paused.is_none() {
                        open.extend(definition.open_commands(&saga).unwrap_or_default());
                    }
                    writes.push(Write { before, saga, history });
                }
            }
            let moved = !writes.is_empty();
            (writes, Ok((moved, waits, open)))
        };
        let told = if self.report.dry_run {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
            decide(Timestamp(now.max(saga.started_at.0)), vec![saga]).1
        } else {
            self.store.turn(&[saga.id], decide).await?
        };
        Ok(match told {
            Ok((moved, waits, open)) => {
                self.open.extend(open);
                if moved {
                    self.report.caught_up.push(one.saga.clone());
                }
                self.gaps.extend(waits.into_iter().map(|step| Lost {
                    saga: one.saga.clone(),
                    definition: saga_definition.clone(),
                    service: "its service".to_owned(),
                    step: step.to_owned(),
                    direction: Direction::Action.to_string(),
                    how: LostHow::Forgotten,
                }));
                Ok(())
            }
            Err(why) => Err(Named::new(&one.saga, why, LOOK_AT_IT)),
        })
    }

    /// Begins a saga again that the orchestrator has forgotten, and tells it what is on record.
    async fn begin_again(&mut self, one: &Ahead, id: SagaId) -> anyhow::Result<Result<(), Named>> {
        let rebuilt = match rebuild(one) {
            Ok(rebuilt) => rebuilt,
            Err(named) => return Ok(Err(named)),
        };
        let Rebuilt { definition, method, caller, data, cancelled, replies } = rebuilt;
        let definition = self.hosted.begins(definition).cloned().context("it is hosted")?;
        let admitted = Admitted {
            caller: caller.clone(),
            deadline_millis: DEADLINE_MILLIS,
            traceparent: None,
        };
        let start = definition.start(id, &data, admitted).context("the data of a saga")?;
        let known = Known { records: &one.records, begun_again: true, cancelled, replies };
        let first = |now: Timestamp| {
            let began = start(now);
            let Some(saga) = began.saga else { return Ok(None) };
            let (saga, caught_up) = catch_up(&*definition, saga, &known, now)?;
            let history = began.history.into_iter().chain(caught_up).collect();
            Ok::<_, catch_up::Deaf>(Some(Write { before: 0, saga, history }))
        };
        let looked = first(id.made_at());
        if let Err(deaf) = &looked {
            let to_do = "correct its order, its reservation and its payment by hand";
            return Ok(Err(Named::new(&one.saga, deaf.to_string(), to_do)));
        }
        if !self.report.dry_run {
            // The client's own key is forgotten, and each saga has one.
            let key = IdempotencyKey {
                caller,
                method,
                key: format!("{BY}/{id}"),
                payload_hash: id.0.as_bytes().to_vec(),
                saga: id,
            };
            let decide = |now: Timestamp, new: &[usize]| {
                let writes = new.iter().filter_map(|_| first(now).ok().flatten()).collect();
                (writes, ())
            };
            let (admitted, _) = self.store.admit(&[key], decide).await?;
            if admitted != [Admission::New] {
                return Ok(Ok(()));
            }
        }
        self.report.begun_again.push(one.saga.clone());
        Ok(Ok(()))
    }

    /// Names what is left, and audits the books as they were read last.
    async fn finish(
        mut self,
        books: Books,
        found: &Divergences,
        asking: &Asking,
    ) -> anyhow::Result<Report> {
        let mut named: Vec<Named> = std::mem::take(&mut self.named).into_values().collect();
        named.extend(found.lost.iter().filter_map(|lost| left(lost, asking, self.report.dry_run)));
        for one in &found.strays {
            // The provider is read last. By now the orchestrator may know of it.
            let known = match one.saga.parse() {
                Ok(id) => !self.store.find(&[id]).await?.is_empty(),
                Err(_) => false,
            };
            if !known {
                named.push(stray(one));
            }
        }
        named.extend(found.orderless.iter().map(|saga| {
            let what = "its order is lost, and what services kept for it was undone";
            Named::harmless(saga, what, "its customer may order again")
        }));
        let options = audit::Options { every_offender: true, ..audit::Options::default() };
        let audited = spawn_blocking(move || saga_audit::judge(&books, false, &options));
        let audited = audited.await.context("judging")??;
        named.extend(audited.sagas.stuck.iter().map(|stuck| {
            let what = format!("it is stuck at {}: {}", stuck.step, stuck.reason);
            Named::new(&stuck.saga, what, "look at it and state what became of it: saga saga ID")
        }));
        named.sort();
        self.report.unnamed = unnamed(&audited, &named);
        self.report.named = named;
        self.report.in_progress = audited.sagas.in_progress;
        self.report.audit = audited.at_rest.then_some(audited);
        Ok(self.report)
    }
}

/// Returns what the audit finds of sagas that are not named, and sums, which belong to no saga.
fn unnamed(audited: &audit::Report, named: &[Named]) -> Vec<String> {
    let named: HashSet<&str> = named.iter().map(|named| named.saga.as_str()).collect();
    let is_named = |offender: &String| {
        let mut words = offender.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
        words.any(|word| named.contains(word))
    };
    let of = |equation: &saga_audit::Judged| {
        let unnamed = equation.offenders.iter().filter(|offender| !is_named(offender));
        unnamed.map(|offender| format!("{}: {offender}", equation.name)).collect::<Vec<_>>()
    };
    audited.equations.iter().flat_map(of).collect()
}

/// Names an answer that stays lost.
fn left(lost: &Lost, asking: &Asking, dry_run: bool) -> Option<Named> {
    let Lost { saga, service, step, direction, how, .. } = lost;
    let forgotten = format!("{service} has forgotten {step}/{direction}");
    Some(match how {
        LostHow::Forgotten if asking.is_paused(lost) => Named::new(
            saga,
            format!("{forgotten}, and the saga is paused"),
            "resume it, and run this again",
        ),
        LostHow::Forgotten if asking.cannot_ask(lost) => Named::new(
            saga,
            format!("{forgotten}, and it cannot be asked again: its saga does not decode"),
            "run the version of saga that hosts it",
        ),
        LostHow::Forgotten if asking.lacks_its_token(lost) => Named::harmless(
            saga,
            format!("{forgotten}, and its token is forgotten too"),
            "what became of the money is found by the keys of its capture or undoing",
        ),
        LostHow::Forgotten if dry_run => return None,
        LostHow::Forgotten => Named::new(
            saga,
            format!("{forgotten}, and does not answer"),
            "see that the service runs, and run this again",
        ),
        LostHow::Undone => Named::harmless(
            saga,
            format!("{forgotten}, and has its undoing on record"),
            "it stays undone",
        ),
        LostHow::Refusal => Named::harmless(
            saga,
            format!("{service} has forgotten that it refused {step}/{direction}"),
            "nothing was done, and the saga went on without it",
        ),
        LostHow::Contradicted(code) => Named::new(
            saga,
            format!("{service} has another answer on record for {step}/{direction}: {code}"),
            "correct the service's books by hand, or the order with the customer",
        ),
    })
}

/// Names a payment at the provider of which only the provider knows.
fn stray(stray: &Stray) -> Named {
    let Stray { saga, payment, status, amount, currency } = stray;
    let to_do = match status.as_str() {
        "captured" => "refund it at the provider, and ask the customer to order again",
        "authorised" => "cancel it at the provider, and ask the customer to order again",
        _ => {
            let what = "no database knows of it, and the provider has an ended payment for it";
            return Named::harmless(saga, what, "no money is held or was taken");
        }
    };
    let what = format!(
        "no database knows of it, and the provider has {payment} for it: {status}, {amount} {currency}"
    );
    Named::new(saga, what, to_do)
}
