//! A shop that consists of its databases only: carries out batches of orders from admission to end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use saga_core::{
    Admitted, Command, Decision, Definition, HostedDefinition as _, Input, Instance,
    OutgoingCommand, Reply, ReplyOutcome, Saga as _, SagaId, Timestamp, TypeName as _, start,
};
use saga_definitions::PlaceOrder;
use saga_engine::{Admission, IdempotencyKey, SagaStore, Write};
use saga_inventory::{Inventory, receipt::Receipt, table::Shelf};
use saga_kit::{Asked, Entry, Handle, HandleOutside, Intending, Intent, Key, Recorded, Store};
use saga_order::{OrderBook, table::Orders};
use saga_payment::{Call, Cashier, Lost, Provider, ProviderSettings, Wire, table::Payments};
use saga_proto::{
    Money,
    inventory::v1::{CommitStock, ReleaseStock, ReserveStock},
    order::v1::{ConfirmOrder, CreateOrder, RejectOrder},
    payment::v1::{AuthorisePayment, CapturePayment},
};
use serde_json::json;
use uuid::Uuid;

use super::{BATCH, Floor, Rounds, WORKERS};
use crate::{
    demand::{DECLINED, Demand},
    figures::median,
    path::Timing,
    stock::goods,
};

const CALLER: &str = "bench";
/// A payload's hash: nothing compares it here, but it has the usual length.
const HASH: [u8; 32] = [7; 32];

/// The databases, accessed through their ports.
pub(super) struct Shop<S, I> {
    sagas: S,
    order: I,
    inventory: I,
    payment: I,
    cashier: Cashier,
    definition: Definition<PlaceOrder>,
    demand: Arc<Demand>,
    batches: AtomicU64,
    commits: AtomicU64,
    answers: AtomicU64,
}

impl<S, I> Shop<S, I>
where
    S: SagaStore,
    I: Store,
    I::Tx: Orders + Shelf + Payments,
{
    /// Creates a shop from a saga store and the databases of order, inventory and payment.
    pub(super) fn new(sagas: S, services: [I; 3], demand: Arc<Demand>) -> anyhow::Result<Self> {
        let [order, inventory, payment] = services;
        let provider = Provider::over(Agreeable, ProviderSettings::new("http://127.0.0.1"))?;
        Ok(Self {
            sagas,
            order,
            inventory,
            payment,
            cashier: Cashier::new(Arc::new(provider)),
            definition: PlaceOrder::steps(),
            demand,
            batches: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            answers: AtomicU64::new(0),
        })
    }

    /// Receives enough stock of each product.
    pub(super) async fn receive(&self) -> anyhow::Result<()> {
        let mut tx = self.inventory.begin().await?;
        for goods in goods(self.demand.skus) {
            let receipt = Receipt {
                key: format!("floor/{}", goods.sku),
                sku: goods.sku,
                quantity: goods.quantity,
                name: Some(goods.name),
                price: Some(Money::new(goods.cents, "EUR")),
            };
            tx.claim(&receipt).await?;
            tx.receive(&receipt.take_in(None)?, &receipt).await?;
        }
        Ok(self.inventory.commit(tx).await?)
    }

    /// Carries out batches, several at once, and returns the median sagas a second over the rounds.
    pub(super) async fn measure(self: &Arc<Self>, rounds: Rounds) -> anyhow::Result<f64> {
        let mut rates = Vec::new();
        for _ in 0..rounds.count {
            let (began, before) = (Instant::now(), self.sagas_so_far());
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| {
                    let shop = Arc::clone(self);
                    tokio::spawn(async move {
                        while began.elapsed() < rounds.time {
                            shop.batch().await?;
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            for worker in workers {
                worker.await??;
            }
            let sagas = (self.sagas_so_far() - before) as f64;
            rates.push(sagas / began.elapsed().as_secs_f64());
        }
        Ok(median(rates).unwrap_or_default())
    }

    /// Computes the floor from a rate, the rows that all sagas so far have written, and the time of
    /// a commit.
    pub(super) fn floor(&self, sagas_a_second: f64, rows: u64, commit: Timing) -> Floor {
        let sagas = self.sagas_so_far() as f64;
        let batches = self.batches.load(Relaxed).max(1);
        Floor {
            sagas_a_second,
            local_transactions_a_saga: self.answers.load(Relaxed) as f64 / sagas,
            commits_a_batch: (self.commits.load(Relaxed) / batches) as usize,
            rows_a_saga: rows as f64 / sagas,
            commit,
        }
    }

    fn sagas_so_far(&self) -> u64 {
        self.batches.load(Relaxed) * BATCH as u64
    }

    /// Carries out one batch of orders, from their admission to their ends.
    pub(super) async fn batch(&self) -> anyhow::Result<()> {
        let mut open = self.admit().await?;
        while !open.is_empty() {
            let mut replies = BTreeMap::new();
            for (name, store) in
                [("order", &self.order), ("inventory", &self.inventory), ("payment", &self.payment)]
            {
                let of_it: Vec<OutgoingCommand>;
                (of_it, open) = open.into_iter().partition(|c| c.payload.participant == name);
                if !of_it.is_empty() {
                    self.serve(store, of_it, &mut replies).await?;
                }
            }
            anyhow::ensure!(open.is_empty(), "nobody takes {:?}", open[0].payload);
            open = self.turn(&replies).await?;
        }
        self.batches.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Begins the next orders' sagas, and returns their first commands.
    async fn admit(&self) -> anyhow::Result<Vec<OutgoingCommand>> {
        let (keys, orders): (Vec<_>, Vec<_>) = (0..BATCH)
            .map(|_| {
                let order = self.demand.next().request;
                let key = IdempotencyKey {
                    caller: CALLER.to_owned(),
                    method: "PlaceOrder",
                    key: order.idempotency_key,
                    payload_hash: HASH.to_vec(),
                    saga: SagaId(Uuid::now_v7()),
                };
                let data = PlaceOrder {
                    caller: CALLER.to_owned(),
                    customer: order.customer,
                    lines: order.lines,
                    payment_token: order.payment_token,
                    expected_total: None,
                    quote: None,
                };
                (key, data)
            })
            .unzip();
        let admitted = Admitted {
            caller: CALLER.to_owned(),
            deadline_millis: PlaceOrder::DEADLINE_MILLIS,
            traceparent: None,
        };
        let decide = |now: Timestamp, new: &[usize]| {
            let mut turned = Turned::default();
            for index in new {
                let (id, admitted) = (keys[*index].saga, admitted.clone());
                turned.add(0, [start(&self.definition, id, &orders[*index], admitted, now)]);
            }
            (turned.writes, turned.send)
        };
        let (admissions, send) = self.sagas.admit(&keys, decide).await?;
        self.commits.fetch_add(1, Relaxed);
        anyhow::ensure!(admissions.iter().all(|one| *one == Admission::New), "a key was known");
        send.context("all sagas are new")
    }

    /// Decides on sagas that have received replies, and returns the next commands.
    async fn turn(
        &self,
        replies: &BTreeMap<SagaId, Vec<Input>>,
    ) -> anyhow::Result<Vec<OutgoingCommand>> {
        let ids: Vec<SagaId> = replies.keys().copied().collect();
        let decide = |now: Timestamp, sagas: Vec<Instance>| {
            let mut turned = Turned::default();
            for mut saga in sagas {
                let before = saga.version;
                let decisions = replies[&saga.id].iter().map(|reply| {
                    let decision = self.definition.turn(&saga, reply, now);
                    let decision = decision.expect("what this process has encoded can be decoded");
                    saga = decision.saga.clone().expect("a reply that is awaited moves its saga");
                    decision
                });
                turned.add(before, decisions.collect::<Vec<_>>());
            }
            (turned.writes, turned.send)
        };
        let send = self.sagas.turn(&ids, decide).await?;
        self.commits.fetch_add(1, Relaxed);
        Ok(send)
    }

    /// Carries out a participant's commands in one transaction, and records the answers.
    async fn serve(
        &self,
        store: &I,
        mut commands: Vec<OutgoingCommand>,
        replies: &mut BTreeMap<SagaId, Vec<Input>>,
    ) -> anyhow::Result<()> {
        let mut tx = store.begin().await?;
        commands.sort_by_key(key);
        let keys: Vec<Key> = commands.iter().map(key).collect();
        let now = store.lock(&mut tx, &keys).await?.now;
        commands.sort_by_key(|command| command.payload.type_name);
        for of_one_type in
            commands.chunk_by(|one, next| one.payload.type_name == next.payload.type_name)
        {
            let mut group = Group { store, tx: &mut tx, commands: of_one_type, now };
            let (inventory, cashier) = (&Inventory, &self.cashier);
            let answers = match of_one_type[0].payload.type_name {
                CreateOrder::TYPE => group.local::<CreateOrder>(&OrderBook).await?,
                ConfirmOrder::TYPE => group.local::<ConfirmOrder>(&OrderBook).await?,
                RejectOrder::TYPE => group.local::<RejectOrder>(&OrderBook).await?,
                ReserveStock::TYPE => group.local::<ReserveStock>(inventory).await?,
                ReleaseStock::TYPE => group.local::<ReleaseStock>(inventory).await?,
                CommitStock::TYPE => group.local::<CommitStock>(inventory).await?,
                AuthorisePayment::TYPE => group.outside::<AuthorisePayment>(cashier).await?,
                CapturePayment::TYPE => group.outside::<CapturePayment>(cashier).await?,
                other => anyhow::bail!("the floor has no handler for {other}"),
            };
            for (command, answer) in of_one_type.iter().zip(answers) {
                replies.entry(command.id.saga).or_default().push(reply(command, answer)?);
            }
        }
        store.commit(tx).await?;
        self.commits.fetch_add(1, Relaxed);
        self.answers.fetch_add(commands.len() as u64, Relaxed);
        Ok(())
    }
}

/// The writes and the commands of one transaction of the orchestrator.
#[derive(Default)]
struct Turned {
    writes: Vec<Write>,
    send: Vec<OutgoingCommand>,
}

impl Turned {
    /// Adds the decisions on one saga; its row has the version `before`.
    fn add(&mut self, before: u64, decisions: impl IntoIterator<Item = Decision>) {
        let (mut last, mut history) = (None, Vec::new());
        for decision in decisions {
            last = decision.saga.or(last);
            history.extend(decision.history);
            self.send.extend(decision.send);
        }
        self.writes.extend(last.map(|saga| Write { before, saga, history }));
    }
}

/// Commands of one type, in an open transaction that has locked their rows.
struct Group<'a, I: Store> {
    store: &'a I,
    tx: &'a mut I::Tx,
    commands: &'a [OutgoingCommand],
    now: Timestamp,
}

impl<I: Store> Group<'_, I> {
    async fn local<C: Command>(
        &mut self,
        handler: &impl Handle<C, I::Tx>,
    ) -> anyhow::Result<Vec<Recorded>> {
        let asked = self.asked::<C>()?;
        let answers = handler.handle(self.tx, &asked).await?;
        let recorded = asked.iter().zip(answers).zip(self.commands).map(|((asked, answer), c)| {
            let event = handler.event(asked, &answer);
            Recorded::of::<C>(&answer, event, c.sequence, self.now)
        });
        let recorded = recorded.collect();
        self.record(Some(&recorded)).await?;
        Ok(recorded)
    }

    /// Handles commands that call the provider. It answers at once, so intent and settlement share
    /// a transaction.
    async fn outside<C: Command>(
        &mut self,
        handler: &impl HandleOutside<C, I::Tx>,
    ) -> anyhow::Result<Vec<Recorded>> {
        let intending = |asked| Intending { asked, resumed: false, never_sent: false };
        let intending: Vec<_> = self.asked::<C>()?.into_iter().map(intending).collect();
        let intents = handler.intend(self.tx, &intending).await?;
        self.record(None).await?;
        let mut findings = Vec::with_capacity(intents.len());
        for (command, intent) in self.commands.iter().zip(&intents) {
            let Intent::Ask(question) = intent else {
                anyhow::bail!("{:?} asks nobody", command.payload)
            };
            findings.push(handler.call(&command.id, question).await?);
        }
        let found: Vec<_> = intending.iter().map(|one| &one.asked).zip(&findings).collect();
        let answers = handler.settle(self.tx, &found).await?;
        let recorded = found.iter().zip(answers).zip(self.commands).map(|((found, answer), c)| {
            let event = handler.event(found.0, &answer);
            Recorded::of::<C>(&answer, event, c.sequence, self.now)
        });
        let recorded = recorded.collect();
        self.record(Some(&recorded)).await?;
        Ok(recorded)
    }

    fn asked<C: Command>(&self) -> anyhow::Result<Vec<Asked<C>>> {
        let asked = self.commands.iter().map(|command| {
            let saga = command.id.saga;
            Ok(Asked { saga, command: serde_json::from_str(command.payload.data.get())? })
        });
        asked.collect()
    }

    /// Records the answers if there are any, and otherwise the intents.
    async fn record(&mut self, answers: Option<&Vec<Recorded>>) -> anyhow::Result<()> {
        let entry = |(at, command): (usize, &OutgoingCommand)| Entry {
            key: key(command),
            direction: command.id.direction,
            hash: HASH.to_vec(),
            answer: answers.map(|answers| answers[at].clone()),
            calls: answers.is_none().into(),
        };
        let entries: Vec<Entry> = self.commands.iter().enumerate().map(entry).collect();
        Ok(self.store.record(self.tx, &entries).await?)
    }
}

fn key(command: &OutgoingCommand) -> Key {
    Key { saga: command.id.saga, step: command.id.step.clone() }
}

/// Converts a recorded answer to the reply that its saga gets.
fn reply(command: &OutgoingCommand, answer: Recorded) -> anyhow::Result<Input> {
    let outcome = if answer.is_refusal() {
        ReplyOutcome::Refused(serde_json::from_str(answer.data.get())?)
    } else {
        ReplyOutcome::Done { type_name: answer.type_name, data: answer.data }
    };
    let (step, direction) = (command.id.step.clone(), command.id.direction);
    Ok(Input::Reply(Reply { step, direction, outcome, redelivered: false, repeat: false }))
}

/// A payment provider that answers at once and declines the card [`DECLINED`].
struct Agreeable;

impl Wire for Agreeable {
    fn send<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(u16, Vec<u8>), Lost>> {
        let body = call.post.as_ref().map(|(_, body)| String::from_utf8_lossy(body));
        let status = if call.path_and_query.ends_with("/capture") {
            "captured"
        } else if body.is_some_and(|body| body.contains(DECLINED)) {
            "declined"
        } else {
            "authorised"
        };
        let id = Uuid::now_v7().to_string();
        let payment = json!({ "id": id, "status": status, "amount": 1, "currency": "EUR" });
        Box::pin(async move { Ok((201, payment.to_string().into_bytes())) })
    }
}

/// Times statements, each of which is its own transaction.
pub(super) async fn timed(
    count: usize,
    mut commit: impl AsyncFnMut(i64) -> anyhow::Result<()>,
) -> anyhow::Result<Timing> {
    let mut took: Vec<Duration> = Vec::with_capacity(count);
    for number in 0..count as i64 {
        let began = Instant::now();
        commit(number).await?;
        took.push(began.elapsed());
    }
    Ok(Timing::of(took))
}
