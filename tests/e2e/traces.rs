//! Traces over real processes. One order is one tree, from the client's call to its events; a span
//! that serves several orders is linked to each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context as _;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use saga_proto::{order::v1::OrderStatus, shop::v1::GetOrderRequest};
use saga_test_support::{
    desk::Desk as _,
    eventually,
    shopper::{order, waiting},
};
use tonic::Request;

use crate::{
    audit::Audit,
    collector::{Collector, Received},
    load::Load,
    system::{ONE_OF_EACH, System, with_system},
};

/// The time in which spans must arrive. They are exported within a second or two.
const EXPORTED: Duration = Duration::from_secs(30);

/// Each process exports once a second, so after this long without a span none is left.
const QUIET: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_one_trace_and_a_parcel_of_many_is_linked_to_each() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let endpoint = collector.endpoint.clone();
    let settings = [
        ("SAGA_OTLP_ENDPOINT", endpoint.as_str()),
        // A command that is sent again, on a busy machine, would be a second span in the tree.
        ("SAGA_STEP_TIMEOUT_MILLIS", "30000"),
    ];
    with_system(ONE_OF_EACH, &settings, async |system| all(system, collector).await).await
}

async fn all(system: &System, collector: Collector) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    completed(system, &collector).await?;
    compensated(system, &collector).await?;
    forwarded(system, &collector).await?;
    unsampled(system, &collector).await?;
    many_at_once(system, &collector).await?;
    // Without a collector, orders still go through.
    drop(collector);
    let (status, _) = place(system, "after", "tok_approved", None).await?;
    anyhow::ensure!(status == OrderStatus::Confirmed, "without a collector: {status:?}");
    Ok(())
}

async fn completed(system: &System, collector: &Collector) -> anyhow::Result<()> {
    let caller = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let context = format!("00-{}-{}-01", caller.0, caller.1);
    let (status, id) = place(system, "completed", "tok_approved", Some(&context)).await?;
    anyhow::ensure!(status == OrderStatus::Confirmed, "{status:?}");
    let tree = Tree::of(collector, caller.0, "completed").await?;

    let root = tree.root(caller.1)?;
    anyhow::ensure!(
        root.kind == SpanKind::Server && root.service == "saga-orchestrator",
        "{root:?}"
    );
    tree.commands_are(&[
        ("create-order action", "saga-order", "done"),
        ("reserve-stock action", "saga-inventory", "done"),
        ("authorise-payment action", "saga-payment", "done"),
        ("capture-payment action", "saga-payment", "done"),
        ("commit-stock action", "saga-inventory", "done"),
        ("confirm-order action", "saga-order", "done"),
    ])?;
    tree.turns_and_commands_alternate()?;
    // Spans that the handler's own code makes.
    let transaction = tree.child(tree.named("reserve-stock action")?, "transaction")?;
    let reserve = tree.child(transaction, "reserve")?;
    anyhow::ensure!(reserve.service == "saga-inventory", "{reserve:?}");
    anyhow::ensure!(reserve.kind == SpanKind::Internal, "{reserve:?}");
    anyhow::ensure!(reserve.is("commands", "1"), "{reserve:?}");
    // The provider's span of the call, from the provider's process.
    for payment in ["authorise-payment action", "capture-payment action"] {
        let call = tree.child(tree.named(payment)?, "POST")?;
        anyhow::ensure!(call.is("http.request.method", "POST"), "{call:?}");
        anyhow::ensure!(call.kind == SpanKind::Client, "{call:?}");
        let answer = tree.child(call, "POST")?;
        anyhow::ensure!(answer.service == "saga-provider", "{answer:?}");
        anyhow::ensure!(answer.kind == SpanKind::Server, "{answer:?}");
    }
    // The tree reaches the events.
    for (command, event) in
        [("create-order action", "order.placed"), ("confirm-order action", "order.confirmed")]
    {
        let name = format!("publish {}shop.events:{event}", system.prefix());
        let event = tree.child(tree.named(command)?, &name)?;
        anyhow::ensure!(event.kind == SpanKind::Producer, "{event:?}");
        anyhow::ensure!(event.is("messaging.system", "rabbitmq"), "{event:?}");
        anyhow::ensure!(event.is("messaging.operation.type", "send"), "{event:?}");
    }
    // `saga saga` shows an operator the trace.
    let shown = system.run(&["saga", &id]).await?;
    anyhow::ensure!(shown.contains(caller.0), "no trace in\n{shown}");
    Ok(())
}

/// Checks that a read that another service answers is one trace, whether it succeeds or fails.
async fn forwarded(system: &System, collector: &Collector) -> anyhow::Result<()> {
    let (_, known) = place(system, "read", "tok_approved", None).await?;
    let unknown = uuid::Uuid::now_v7().to_string();
    for (n, (order_id, code)) in [(known, "0"), (unknown, "5")].into_iter().enumerate() {
        let (trace, caller) = (format!("{:032x}", 0xabc0 + n), "00f067aa0ba902b7");
        let mut request = Request::new(GetOrderRequest { order_id });
        request.metadata_mut().insert("traceparent", format!("00-{trace}-{caller}-01").parse()?);
        let answered = system.orders()?.get_order(request).await;
        anyhow::ensure!(answered.is_ok() == (code == "0"), "{answered:?}");
        let method = "saga.order.v1.OrderReads/ReadOrder";
        let spans = eventually("the spans of a read", EXPORTED, async || {
            let spans = collector.spans().into_iter().filter(|span| span.trace == trace);
            let spans: Vec<Received> = spans.collect();
            spans.iter().any(|span| span.name == "saga.shop.v1.Orders/GetOrder").then_some(())?;
            spans.iter().any(|span| span.name == method).then_some(spans)
        })
        .await;
        let named = |name: &str| spans.iter().find(|span| span.name == name).context("a span");
        let (root, forward) = (named("saga.shop.v1.Orders/GetOrder")?, named("forward order")?);
        let answer = named(method)?;
        anyhow::ensure!(root.parent == caller && forward.parent == root.id, "{spans:#?}");
        anyhow::ensure!(answer.parent == forward.id, "{spans:#?}");
        anyhow::ensure!(answer.service == "saga-order" && answer.kind == SpanKind::Server);
        anyhow::ensure!(answer.is("rpc.system", "grpc"), "{answer:?}");
        anyhow::ensure!(answer.is("rpc.service", "saga.order.v1.OrderReads"), "{answer:?}");
        anyhow::ensure!(answer.is("rpc.method", "ReadOrder"), "{answer:?}");
        anyhow::ensure!(answer.is("rpc.grpc.status_code", code), "{answer:?}");
    }
    Ok(())
}

async fn compensated(system: &System, collector: &Collector) -> anyhow::Result<()> {
    // The caller has sent no trace, so a new one begins here.
    let (status, id) = place(system, "compensated", "tok_declined", None).await?;
    anyhow::ensure!(status == OrderStatus::Rejected, "{status:?}");
    let described = system.done(&["saga", &id]).await?;
    let trace = described["saga"]["traceId"].as_str().context("no traceId")?.to_owned();
    let tree = Tree::of(collector, &trace, "compensated").await?;

    let root = tree.root("")?;
    anyhow::ensure!(root.name == "saga.shop.v1.Orders/PlaceOrder", "{root:?}");
    tree.commands_are(&[
        ("create-order action", "saga-order", "done"),
        ("reserve-stock action", "saga-inventory", "done"),
        ("authorise-payment action", "saga-payment", "refused"),
        ("reserve-stock compensation", "saga-inventory", "done"),
        ("create-order compensation", "saga-order", "done"),
    ])?;
    tree.turns_and_commands_alternate()?;
    let order = tree.depth(tree.named("create-order action")?);
    let undone = tree.depth(tree.named("create-order compensation")?);
    anyhow::ensure!(order < undone, "the compensation follows: {order} < {undone}");
    Ok(())
}

async fn unsampled(system: &System, collector: &Collector) -> anyhow::Result<()> {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let context = format!("00-{trace}-b7ad6b7169203331-00");
    let (status, id) = place(system, "unsampled", "tok_approved", Some(&context)).await?;
    anyhow::ensure!(status == OrderStatus::Confirmed, "{status:?}");
    let shown = system.run(&["saga", &id]).await?;
    anyhow::ensure!(shown.contains(trace), "the context is passed on: {shown}");
    let mut request = Request::new(GetOrderRequest { order_id: id });
    request.metadata_mut().insert("traceparent", context.parse()?);
    system.orders()?.get_order(request).await?;
    // The marker's spans are exported later, so any span of the first trace has arrived by then.
    let (_, _) = place(system, "marker", "tok_approved", Some(&marker())).await?;
    Tree::of(collector, &marker()[3..35], "completed").await?;
    let strays = collector.spans().into_iter().filter(|span| span.trace == trace).count();
    anyhow::ensure!(strays == 0, "{strays} spans of a trace that is not sampled");
    Ok(())
}

fn marker() -> String {
    "00-11111111111111111111111111111111-2222222222222222-01".to_owned()
}

async fn many_at_once(system: &System, collector: &Collector) -> anyhow::Result<()> {
    let load = Load {
        orders: 200,
        clients: 64,
        name: "many".to_owned(),
        token: |_| "tok_approved",
        sku: |_| "teapot",
        pace: Duration::ZERO,
    };
    load.run(vec![system.channel("orchestrator-1")?]).await?;
    Audit::open(system).await?.wait_until_quiet(Duration::from_secs(60)).await?;
    eventually("a parcel and a batch linked to several traces", EXPORTED, async || {
        let spans = collector.spans();
        let known: BTreeSet<_> = spans.iter().map(|s| (s.trace.clone(), s.id.clone())).collect();
        let joins = |operation: &str| {
            spans.iter().any(|span| {
                let count = span.attributes.get("messaging.batch.message_count");
                let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
                let traces: BTreeSet<_> = span.links.iter().map(|(trace, _)| trace).collect();
                span.is("messaging.operation.type", operation)
                    && span.parent.is_empty()
                    && traces.len() >= 2
                    && span.links.len() <= count
                    && span.links.iter().all(|link| known.contains(link))
            })
        };
        (joins("send") && joins("receive")).then_some(())
    })
    .await;
    eventually(
        "a handler's span under what is linked to several transactions",
        EXPORTED,
        async || {
            let spans = collector.spans();
            let place = |span: &Received| (span.trace.clone(), span.id.clone());
            let transactions = spans.iter().filter(|span| span.name == "transaction");
            let transactions: BTreeMap<_, _> =
                transactions.map(|span| (place(span), span)).collect();
            let handled = spans.iter().filter(|span| span.name == "reserve").any(|reserve| {
                let above = (reserve.trace.clone(), reserve.parent.clone());
                let batch = spans.iter().find(|span| place(span) == above);
                let Some(batch) = batch.filter(|span| span.name == "handle batch") else {
                    return false;
                };
                let linked: Vec<_> = batch.links.iter().map(|to| transactions.get(to)).collect();
                let traces: BTreeSet<_> = linked.iter().flatten().map(|span| &span.trace).collect();
                // The span is of a transaction with at least two orders.
                let size = batch.links.len().to_string();
                batch.parent.is_empty()
                    && traces.len() == batch.links.len()
                    && linked.len() >= 2
                    && linked.iter().flatten().all(|span| span.is("db.operation.batch.size", &size))
                    && reserve.is("commands", &size)
            });
            handled.then_some(())
        },
    )
    .await;
    Ok(())
}

/// Places an order and waits for its end.
async fn place(
    system: &System,
    key: &str,
    token: &str,
    traceparent: Option<&str>,
) -> anyhow::Result<(OrderStatus, String)> {
    let mut request = Request::new(waiting(order(key, "teapot", 1, token)));
    if let Some(traceparent) = traceparent {
        request.metadata_mut().insert("traceparent", traceparent.parse()?);
    }
    let placed = system.orders()?.place_order(request).await?.into_inner();
    Ok((placed.status(), placed.order_id))
}

/// The spans of one trace.
struct Tree {
    spans: BTreeMap<String, Received>,
}

impl Tree {
    /// Waits until the span of the turn that ended the saga has arrived, every span has its parent,
    /// and no span has come for a while: spans of other processes may come last.
    async fn of(collector: &Collector, trace: &str, end: &str) -> anyhow::Result<Self> {
        let deadline = tokio::time::Instant::now() + EXPORTED;
        let mut grown = (0, tokio::time::Instant::now());
        loop {
            let spans = collector.spans().into_iter().filter(|span| span.trace == trace);
            let spans: BTreeMap<_, _> = spans.map(|span| (span.id.clone(), span)).collect();
            let ended = spans.values().any(|span| span.is("saga.state", end));
            let orphans = spans.values().filter(|span| !spans.contains_key(&span.parent)).count();
            if spans.len() > grown.0 {
                grown = (spans.len(), tokio::time::Instant::now());
            }
            if ended && orphans == 1 && grown.1.elapsed() > QUIET {
                return Ok(Self { spans });
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "trace {trace} never became a tree: {:#?}",
                spans.values()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn root(&self, parent: &str) -> anyhow::Result<&Received> {
        let root = self.spans.values().find(|span| span.parent == parent).context("no root")?;
        anyhow::ensure!(root.name == "saga.shop.v1.Orders/PlaceOrder", "{root:?}");
        anyhow::ensure!(root.is("rpc.system", "grpc") && root.is("rpc.method", "PlaceOrder"));
        Ok(root)
    }

    fn named(&self, name: &str) -> anyhow::Result<&Received> {
        let mut found = self.spans.values().filter(|span| span.name == name);
        let first = found.next().with_context(|| format!("no span {name}"))?;
        anyhow::ensure!(found.next().is_none(), "two spans {name}");
        Ok(first)
    }

    fn child(&self, of: &Received, name: &str) -> anyhow::Result<&Received> {
        let is = |span: &&Received| span.parent == of.id && span.name == name;
        self.spans.values().find(is).with_context(|| format!("{} has no child {name}", of.name))
    }

    fn depth(&self, span: &Received) -> usize {
        self.spans.get(&span.parent).map_or(0, |parent| 1 + self.depth(parent))
    }

    /// Checks that exactly these commands were handled, each in a transaction.
    fn commands_are(&self, expected: &[(&str, &str, &str)]) -> anyhow::Result<()> {
        let commands: BTreeSet<&str> = self.commands().map(|span| span.name.as_str()).collect();
        let names: BTreeSet<&str> = expected.iter().map(|(name, ..)| *name).collect();
        anyhow::ensure!(commands == names, "{commands:?}");
        for (name, service, outcome) in expected {
            let command = self.named(name)?;
            anyhow::ensure!(command.service == *service, "{command:?}");
            anyhow::ensure!(command.is("saga.outcome", outcome), "{command:?}");
            anyhow::ensure!(command.is("messaging.operation.type", "process"), "{command:?}");
            let transaction = self.child(command, "transaction")?;
            anyhow::ensure!(transaction.is("db.system.name", "postgresql"), "{transaction:?}");
            anyhow::ensure!(transaction.kind == SpanKind::Client, "{transaction:?}");
        }
        Ok(())
    }

    fn commands(&self) -> impl Iterator<Item = &Received> {
        self.spans.values().filter(|span| {
            span.kind == SpanKind::Consumer && span.attributes.contains_key("saga.outcome")
        })
    }

    /// Checks the nesting: a command is handled below the turn that sent it, beside its parcel. An
    /// answer is decided on below the handling that gave it.
    fn turns_and_commands_alternate(&self) -> anyhow::Result<()> {
        for command in self.commands() {
            let turn = self.spans.get(&command.parent).context("a parent")?;
            anyhow::ensure!(turn.name == "turn place-order", "{command:?} is below {turn:?}");
            let parcel = self
                .spans
                .values()
                .find(|span| span.parent == turn.id && span.is("messaging.operation.type", "send"));
            let parcel = parcel.with_context(|| format!("{} came by no parcel", command.name))?;
            anyhow::ensure!(parcel.is("messaging.batch.message_count", "1"), "{parcel:?}");
        }
        let turns = self.spans.values().filter(|span| span.name == "turn place-order");
        for turn in turns.clone().filter(|turn| !turn.is("saga.happening", "started")) {
            let above = self.spans.get(&turn.parent).context("a parent")?;
            let step = turn.attributes.get("saga.step").context("a step")?;
            anyhow::ensure!(above.is("saga.step", step), "{turn:?} is below {above:?}");
            self.child(turn, "transaction")?;
        }
        let answered = turns.filter(|turn| turn.attributes.contains_key("saga.step")).count();
        let commands = self.commands().count();
        anyhow::ensure!(answered == commands, "{answered} turns for {commands} answers");
        Ok(())
    }
}
