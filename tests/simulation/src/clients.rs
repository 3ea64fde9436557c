//! Clients and operators. Clients place orders, repeat their calls, cancel orders and disconnect.
//! Operators pause sagas for a while.

use std::{sync::Arc, time::Duration};

use saga_core::{
    Admitted, Cancelled, Input, Intervened, Intervention, Remedy, SagaId, Signed, Verdict, Wish,
};
use saga_definitions::{PlaceOrder, ReturnOrder};
use saga_engine::{Handle, IdempotencyKey, NewSaga, Placed, RequestError};
use saga_proto::{Money, types::v1::Line};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    faults::Fault, plan::Plan, sim::Sim, stranger::wait_for, transport::short, world::World,
};

/// The shop's first stock: SKU, quantity, price.
pub(crate) const GOODS: [(&str, i64, i64); 3] =
    [("teapot", 1_000, 2_500), ("cup", 40, 450), ("last-one", 2, 99_900)];

/// Time after which an operator looks again at a saga that has moved.
const LOOKS_AGAIN: Duration = Duration::from_millis(500);

/// The caller that owns all orders.
const CALLER: &str = "ada";

/// The cards, each with the weight of its choice.
const CARDS: [(&str, usize); 9] = [
    ("tok_approved", 40),
    ("tok_declined", 8),
    ("tok_insufficient_funds", 4),
    ("tok_slow", 8),
    ("tok_very_slow", 4),
    ("tok_answer_lost", 10),
    ("tok_capture_answer_lost", 10),
    ("tok_down", 8),
    ("tok_capture_declined", 8),
];

/// The cards for which the provider does not answer in time.
const SILENT: [&str; 5] =
    ["tok_slow", "tok_very_slow", "tok_answer_lost", "tok_capture_answer_lost", "tok_down"];

/// The requests of the clients.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Orders that were accepted, each once.
    pub(crate) accepted: std::sync::Mutex<Vec<SagaId>>,
}

/// The request of one client.
#[derive(Clone)]
struct Wanted {
    key: String,
    what: What,
    deadline_millis: u64,
}

#[derive(Clone)]
enum What {
    Order(PlaceOrder),
    Return(ReturnOrder),
}

impl Wanted {
    fn draw(sim: &Sim, plan: &Plan, number: usize) -> Self {
        let dice = &sim.dice;
        let mut lines = Vec::new();
        for (sku, _, _) in GOODS {
            let often = if sku == "last-one" { 0.15 } else { 0.6 };
            if dice.chance(often) {
                let quantity = 1 + dice.below(3) as i64;
                lines.push(Line { sku: sku.to_owned(), quantity });
            }
        }
        if lines.is_empty() || dice.chance(0.03) {
            let sku = if lines.is_empty() { "teapot" } else { "unheard-of" };
            lines.push(Line { sku: sku.to_owned(), quantity: 1 });
        }
        let cards: usize = CARDS.iter().map(|(_, share)| share).sum();
        let mut drawn = dice.below(cards);
        let card = CARDS.iter().find(|(_, share)| {
            let here = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            here
        });
        let card = card.map_or("tok_approved", |(card, _)| card);
        // If the provider does not answer, the service drops the command, and only a wake-up of the
        // saga sends it again. So a run without timers does not use such a card.
        let card = if plan.timers || !SILENT.contains(&card) { card } else { "tok_approved" };
        let expected_total = dice.chance(0.05).then(|| Money::new(1, "EUR"));
        let order = PlaceOrder {
            caller: CALLER.to_owned(),
            customer: format!("customer-{number}"),
            lines,
            payment_token: format!("{card}-{number}"),
            expected_total,
            quote: None,
        };
        let deadline = if dice.chance(0.15) { 200..=8_000 } else { 60_000..=60_000 };
        let deadline_millis = dice.millis(deadline).as_millis() as u64;
        Self { key: format!("key-{number}"), what: What::Order(order), deadline_millis }
    }

    /// Draws a return: of a whole order, or of one piece of some product.
    fn draw_return(sim: &Sim, order: SagaId, number: usize) -> Self {
        let dice = &sim.dice;
        let line = || Line { sku: dice.pick(&GOODS).0.to_owned(), quantity: 1 };
        let back = ReturnOrder {
            caller: CALLER.to_owned(),
            order_id: order.to_string(),
            lines: if dice.chance(0.5) { Vec::new() } else { vec![line()] },
            reason: "it does not pour".to_owned(),
            opened: None,
        };
        let key = format!("return-{number}-{}", sim.uuid());
        Self { key, what: What::Return(back), deadline_millis: 60_000 }
    }

    /// Returns another request with the same key.
    fn changed(&self) -> Self {
        let mut changed = self.clone();
        match &mut changed.what {
            What::Order(order) => order.lines[0].quantity += 1,
            What::Return(back) => back.reason.push('!'),
        }
        changed
    }

    fn saga(&self, world: &World) -> NewSaga {
        let id = SagaId(world.sim.uuid());
        let (method, payload) = match &self.what {
            What::Order(o) => {
                ("PlaceOrder", format!("{:?} {} {}", o.lines, o.customer, o.payment_token))
            }
            What::Return(back) => ("ReturnOrder", format!("{back:?}")),
        };
        let key = IdempotencyKey {
            caller: CALLER.to_owned(),
            method,
            key: self.key.clone(),
            payload_hash: Sha256::digest(payload).to_vec(),
            saga: id,
        };
        let admitted = Admitted {
            caller: CALLER.to_owned(),
            deadline_millis: self.deadline_millis,
            traceparent: None,
        };
        match &self.what {
            What::Order(order) => NewSaga::of(key, order, admitted),
            What::Return(back) => NewSaga::of(key, back, admitted),
        }
    }
}

/// Runs one client until it has made all its requests.
pub(crate) async fn client(world: Arc<World>, number: usize) {
    let (sim, dice) = (&world.sim, &world.sim.dice);
    sleep(dice.millis(0..=world.plan.orders_within_millis)).await;
    let wanted = Wanted::draw(sim, &world.plan, number);
    let who = format!("client-{number}");
    let again = dice.chance(0.3);
    let other = dice.chance(0.1);
    let cancel = dice.chance(0.3).then(|| dice.millis(0..=12_000));
    let pause = dice.chance(0.1).then(|| dice.millis(0..=8_000));
    let returns = if dice.chance(0.3) { 1 + dice.below(2) } else { 0 };
    let remedy = [Remedy::Retry, Remedy::Compensate][dice.below(2)].clone();
    let remedy = dice.chance(0.1).then(|| (dice.millis(0..=8_000), remedy));
    let id = placed(&world, &who, &wanted).await;
    crate::sim::lock(&world.asked.accepted).push(id);
    let waiting = world.plan.waiters.then(|| {
        let world = Arc::clone(&world);
        AbortOnDropHandle::new(tokio::spawn(async move { wait_for(&world, id).await }))
    });
    if again {
        let repeated = placed(&world, &who, &wanted).await;
        if repeated != id && world.checks.vanished(id) {
            // The key was lost with the order, so its repetition begins another one.
            crate::sim::lock(&world.asked.accepted).push(repeated);
        } else if repeated != id {
            sim.violated(format!("{who}: one key, two orders: {id} and {repeated}"));
        }
    }
    if other {
        let placed = place(&world, &who, &wanted.changed()).await;
        if let Placed::New(new) = placed
            && world.checks.vanished(id)
        {
            crate::sim::lock(&world.asked.accepted).push(new);
        } else if placed != Placed::Conflict {
            sim.violated(format!("{who}: one key, another payload: {placed:?}"));
        }
    }
    if let Some(after) = pause {
        sleep(after).await;
        intervene(&world, id, &Remedy::Pause).await;
        sleep(dice.millis(0..=10_000)).await;
        intervene(&world, id, &Remedy::Resume).await;
    }
    if let Some((after, remedy)) = remedy {
        sleep(after).await;
        intervene(&world, id, &remedy).await;
    }
    if let Some(after) = cancel {
        sleep(after).await;
        cancelled(&world, &who, id).await;
    }
    for _ in 0..returns {
        // Mostly the client waits until there is something to return. If stock is not committed
        // yet, only a wake-up of the saga retries the return.
        if dice.chance(0.9) || !world.plan.timers {
            while !world.checks.has_ended(id) && !world.checks.touched(id) {
                sleep(Duration::from_millis(700)).await;
            }
        }
        let wanted = Wanted::draw_return(sim, id, number);
        let back = placed(&world, &who, &wanted).await;
        crate::sim::lock(&world.asked.accepted).push(back);
    }
    if let Some(waiting) = waiting
        && !world.plan.forgets
    {
        let _ = waiting.await;
    }
}

/// Cancels the orders whose hold was asked for in vain, before their sagas ask again.
pub(crate) async fn impatient(world: Arc<World>, mut unheard: mpsc::UnboundedReceiver<SagaId>) {
    let mut clients = JoinSet::new();
    while let Some(id) = unheard.recv().await {
        let (world, after) = (Arc::clone(&world), world.sim.dice.millis(0..=300));
        clients.spawn(async move {
            sleep(after).await;
            cancelled(&world, "impatient", id).await;
        });
    }
}

/// Cancels an order.
async fn cancelled(world: &World, who: &str, id: SagaId) {
    let wish = Wish { by: "ada".to_owned(), reason: "changed my mind".to_owned() };
    if let Verdict::Cancel(Cancelled::Accepted) = input(world, who, id, &Input::Cancel(wish)).await
    {
        crate::sim::lock(&world.cancelled).insert(id);
    }
}

/// Intervenes at the version that the operator sees, and repeats the call until it is answered.
pub(crate) async fn intervene(world: &World, id: SagaId, remedy: &Remedy) {
    loop {
        let signed = Signed { by: "grace".to_owned(), reason: "to have a look".to_owned() };
        let expected_version = world.checks.version(id);
        let intervention = Intervention { remedy: remedy.clone(), expected_version, signed };
        match input(world, "operator", id, &Input::Intervene(intervention)).await {
            // Not at once: a bug that never shows the new version would hold up time itself.
            Verdict::Intervention(Intervened::Moved { .. }) => sleep(LOOKS_AGAIN).await,
            Verdict::Intervention(
                Intervened::Applied | Intervened::Repeated | Intervened::Impossible(_),
            )
            | Verdict::Applied
            | Verdict::Duplicate
            | Verdict::Late
            | Verdict::Foreign
            | Verdict::Contradicts
            | Verdict::Nothing
            | Verdict::Cancel(_) => return,
        }
    }
}

async fn placed(world: &World, who: &str, wanted: &Wanted) -> SagaId {
    match place(world, who, wanted).await {
        Placed::New(id) | Placed::Repeated(id) => id,
        Placed::Conflict => {
            // If the first order was lost, the key may be bound to the changed request now.
            if !world.checks.lost_commits() {
                world.sim.violated(format!("{who}: its own key is another's"));
            }
            SagaId(world.sim.uuid())
        }
    }
}

/// Places an order, and repeats the call under its key until it is answered.
async fn place(world: &World, who: &str, wanted: &Wanted) -> Placed {
    loop {
        let handle = orchestrator(world).await;
        let call = handle.requests.place(wanted.saga(world));
        match patiently(world, call).await {
            Some(Ok(placed)) => {
                world.sim.say(who, || format!("{}: {}", wanted.key, told(placed)));
                return placed;
            }
            Some(Err(error)) => world.sim.say(who, || format!("{}: {error}", wanted.key)),
            None => world.sim.say(who, || format!("{}: goes away", wanted.key)),
        }
        sleep(world.sim.dice.millis(50..=3_000)).await;
    }
}

fn told(placed: Placed) -> String {
    match placed {
        Placed::New(id) => format!("accepted as {}", short(&id.to_string())),
        Placed::Repeated(id) => format!("known as {}", short(&id.to_string())),
        Placed::Conflict => "refused: the key has another payload".to_owned(),
    }
}

/// Sends an input to a saga, and repeats the call until it is answered.
async fn input(world: &World, who: &str, id: SagaId, input: &Input) -> Verdict {
    loop {
        let handle = orchestrator(world).await;
        let call = handle.requests.input(id, input.clone());
        let asked = || format!("{} of {}", name(input), short(&id.to_string()));
        match patiently(world, call).await {
            Some(Ok((verdict, _))) => {
                world.sim.say(who, || format!("{}: {verdict:?}", asked()));
                return verdict;
            }
            Some(Err(RequestError::NotFound)) => {
                if !world.checks.vanished(id) {
                    world.sim.violated(format!("{who}: {}: its saga is gone", asked()));
                }
                return Verdict::Nothing;
            }
            Some(Err(error)) => world.sim.say(who, || format!("{}: {error}", asked())),
            None => world.sim.say(who, || format!("{}: goes away", asked())),
        }
        sleep(world.sim.dice.millis(50..=3_000)).await;
    }
}

fn name(input: &Input) -> &'static str {
    match input {
        Input::Cancel(_) => "cancel",
        Input::Intervene(intervention) => intervention.remedy.name(),
        Input::Reply(_) => "reply",
        Input::Wake => "wake",
    }
}

/// Waits for an answer. Returns `None` if it takes too long or the client disconnects.
async fn patiently<T>(world: &World, call: impl Future<Output = T>) -> Option<T> {
    let patience = if world.sim.strikes(Fault::ClientGone) {
        world.sim.dice.millis(0..=20)
    } else {
        Duration::from_secs(10)
    };
    tokio::time::timeout(patience, call).await.ok()
}

/// Picks one of the running orchestrators.
pub(crate) async fn orchestrator(world: &World) -> Handle {
    loop {
        let running: Vec<Handle> = world.orchestrators().collect();
        if !running.is_empty() {
            return world.sim.dice.pick(&running).clone();
        }
        sleep(Duration::from_millis(200)).await;
    }
}
