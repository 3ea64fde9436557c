//! Tests with a slow provider. Time is simulated, and the provider records its calls.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::{BoxFuture, join_all};
use saga_core::{CommandId, Direction, SagaId};
use saga_messaging::Envelope;
use saga_payment::{Call, Lost, Provider, ProviderSettings, participant, table::sqlite::SCHEMA};
use saga_proto::payment::v1::{CapturePayment, VoidAuthorisation};
use saga_sqlite::{Clock, Database, Inbox};
use saga_taps::{Line, command};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::shop::{Became, authorise, id, order, send};

/// Time that the provider takes for an answer. The client waits for at most 2 s.
const LATENCY: Duration = Duration::from_millis(1_500);
/// The times, in seconds, at which a saga sends a command by its policy, without jitter.
const SENDINGS: [u64; 6] = [0, 3, 9, 21, 41, 61];

/// A provider that accepts every request, slowly.
#[derive(Clone, Default)]
struct Slow {
    /// The times of the calls by idempotency key. A call that only reads counts under the key that
    /// it reads.
    calls: Arc<Mutex<BTreeMap<String, Vec<Instant>>>>,
}

impl Slow {
    /// Returns the times of the calls for a command.
    fn calls(&self, id: &CommandId) -> Vec<Instant> {
        let calls = self.calls.lock().expect("whole");
        calls.get(&id.to_string()).cloned().unwrap_or_default()
    }
}

impl saga_payment::Wire for Slow {
    fn send<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(u16, Vec<u8>), Lost>> {
        let read = || call.path_and_query.split_once("idempotency_key=").map(|(_, key)| key);
        let posted = call.post.as_ref().map(|(key, _)| key.as_str());
        let key = posted.or_else(read).expect("a call for a key").to_owned();
        self.calls.lock().expect("whole").entry(key).or_default().push(Instant::now());
        let status = match call.path_and_query.rsplit('/').next() {
            Some("capture") => "captured",
            Some("cancel") => "cancelled",
            Some(_) | None => "authorised",
        };
        let payment =
            json!({ "id": "pay_1", "status": status, "amount": 1_000, "currency": "EUR" });
        let (code, body) = match call.post {
            Some(_) => (201, payment),
            None => (200, json!({ "payments": [] })),
        };
        Box::pin(async move {
            sleep(LATENCY).await;
            Ok((code, body.to_string().into_bytes()))
        })
    }
}

/// A replica of the payment service, with a database in memory.
struct Replica {
    line: Line,
    provider: Slow,
    began: Instant,
}

impl Replica {
    fn start() -> Self {
        let (line, provider, began) = (Line::to("payment"), Slow::default(), Instant::now());
        let database = Database::in_memory(&SCHEMA, Clock::system()).expect("a database");
        let settings = ProviderSettings::new("http://provider");
        let client = Provider::over(provider.clone(), settings).expect("a URL");
        let payment = participant(Inbox::new(database), Arc::new(client));
        tokio::spawn(payment.run(line.transport(), Default::default(), CancellationToken::new()));
        Self { line, provider, began }
    }

    /// Sends a command at a time after the start, and waits until its delivery is acknowledged.
    async fn send_at(&self, after: Duration, command: &Envelope) -> Became {
        sleep_until(self.began + after).await;
        send(&self.line, std::slice::from_ref(command)).await.remove(0)
    }

    /// Sends a command repeatedly until it is answered, as its saga does. Returns the number of
    /// times that it was sent.
    async fn send_until_answered(&self, command: &Envelope) -> usize {
        let answered = Mutex::new(None::<Instant>);
        let sendings = SENDINGS.iter().enumerate().map(async |(n, after)| {
            sleep_until(self.began + Duration::from_secs(*after)).await;
            if answered.lock().expect("whole").is_some() {
                return 0;
            }
            if send(&self.line, std::slice::from_ref(command)).await[0] != Became::Dropped {
                answered.lock().expect("whole").get_or_insert_with(Instant::now);
            }
            n + 1
        });
        let sent = join_all(sendings).await.into_iter().max().expect("some");
        assert!(answered.into_inner().expect("whole").is_some(), "{} has no answer", command.id);
        sent
    }
}

fn done() -> Became {
    Became::Done(json!({}))
}

fn capture(order: SagaId) -> Envelope {
    command(id(order, "capture-payment", Direction::Action), &CapturePayment {})
}

fn void(order: SagaId) -> Envelope {
    command(id(order, "authorise-payment", Direction::Compensation), &VoidAuthorisation {})
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_command_that_is_being_asked_joins_it_and_both_are_answered() {
    let replica = Replica::start();
    let command = authorise(order(), "tok_approved");
    let copies = [0, 500, 1_400].map(Duration::from_millis);
    let became = join_all(copies.map(|after| replica.send_at(after, &command))).await;
    assert_eq!(became, [done(), done(), done()]);
    assert_eq!(replica.provider.calls(&command.id).len(), 1);
    assert_eq!(replica.began.elapsed().as_millis(), LATENCY.as_millis());
}

#[tokio::test(start_paused = true)]
async fn under_more_load_than_a_slow_provider_allows_each_command_is_asked_once() {
    let replica = Replica::start();
    let commands: Vec<_> = (0..700).map(|_| authorise(order(), "tok_approved")).collect();
    let sent = join_all(commands.iter().map(|c| replica.send_until_answered(c))).await;
    let most = commands.iter().map(|c| replica.provider.calls(&c.id).len()).max();
    assert_eq!(most, Some(1));
    assert!(sent.iter().any(|sendings| *sendings > 1), "no load that is too high");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_waited_for_longer_than_its_copies_live_is_given_up_unasked() {
    let replica = Replica::start();
    let commands: Vec<_> = (0..700).map(|_| authorise(order(), "tok_approved")).collect();
    let once = join_all(commands.iter().map(|c| replica.send_at(Duration::ZERO, c))).await;
    let given_up: Vec<_> = commands.iter().zip(&once).filter(|(_, b)| **b != done()).collect();
    assert!(given_up.len() > 100, "only {}", given_up.len());
    // All of them are given up soon, so that the next ones in the queue are handled.
    assert!(replica.began.elapsed() < Duration::from_millis(3_600));
    for (command, became) in &given_up {
        assert_eq!(**became, Became::Dropped);
        assert_eq!(replica.provider.calls(&command.id), []);
    }
    // No request was sent, so the compensation sends none either.
    let undo = void(given_up[0].0.id.saga);
    assert_eq!(replica.send_at(Duration::ZERO, &undo).await, done());
    assert_eq!(replica.provider.calls(&undo.id), []);
}

#[tokio::test(start_paused = true)]
async fn captures_and_undos_go_before_holds_that_wait() {
    let replica = Replica::start();
    let held: Vec<_> = (0..20).map(|_| order()).collect();
    for order in &held {
        let command = authorise(*order, "tok_approved");
        let replica = &replica;
        assert_eq!(replica.send_at(Duration::ZERO, &command).await, done());
    }
    let began = Instant::now();
    let others: Vec<_> = (0..600).map(|_| authorise(order(), "tok_approved")).collect();
    let first: Vec<_> = held
        .iter()
        .enumerate()
        .map(|(n, order)| if n % 2 == 0 { capture(*order) } else { void(*order) })
        .collect();
    let holds = join_all(others.iter().map(|c| replica.send_at(Duration::ZERO, c)));
    let soon = began - replica.began + Duration::from_millis(100);
    let urgent = join_all(first.iter().map(|c| replica.send_at(soon, c)));
    let (_, urgent) = tokio::join!(holds, urgent);
    assert!(urgent.iter().all(|became| matches!(became, Became::Done(_))), "{urgent:?}");
    for command in &first {
        // The second round of calls starts as soon as the first calls have ended.
        let calls = replica.provider.calls(&command.id);
        assert_eq!(calls.len(), 1);
        assert!(calls[0] - began <= LATENCY + Duration::from_millis(100), "{:?}", calls[0] - began);
    }
}
