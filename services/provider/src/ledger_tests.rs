use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::access::{Keeper, MAX_BATCH, NotWritten};

/// How many attempts with `tok_down` are refused in these tests.
const DOWN_ATTEMPTS: u32 = 2;

fn submission(key: &str, request: Request) -> Submission {
    let hash = Sha256::digest(format!("{request:?}")).into();
    Submission { key: key.to_owned(), hash, request }
}

fn create(key: &str, amount: i64, behaviour: Behaviour) -> Submission {
    let request = Request::Create {
        amount,
        currency: "EUR".to_owned(),
        reference: "order".to_owned(),
        behaviour,
    };
    submission(key, request)
}

fn open(dir: &Path) -> Ledger {
    Ledger::open(dir, DOWN_ATTEMPTS).expect("a ledger")
}

/// Polls a future once, which is enough because a ledger that nobody else uses never waits.
fn at_once<T>(done: impl Future<Output = T>) -> T {
    done.now_or_never().expect("nobody else uses the ledger")
}

fn apply(ledger: &Ledger, submissions: &[&Submission]) -> Vec<Outcome> {
    at_once(ledger.apply(submissions)).expect("written")
}

fn apply_one(ledger: &Ledger, submission: &Submission) -> Outcome {
    apply(ledger, &[submission]).remove(0)
}

fn count(ledger: &Ledger, sql: &str) -> i64 {
    at_once(ledger.database.read(|c| c.query_row(sql, [], |row| row.get(0)))).expect("a count")
}

#[test]
fn the_same_key_twice_in_one_batch_has_one_effect_and_one_replay() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(dir.path());
    let same = create("key", 5, Behaviour::Approve);
    let other = create("key", 6, Behaviour::Approve);
    let outcomes = apply(&ledger, &[&same, &same, &other]);
    let [Outcome::Answered(first), Outcome::Replayed(second), Outcome::KeyReused] = &outcomes[..]
    else {
        panic!("unexpected: {outcomes:?}");
    };
    assert_eq!(first, second);
    assert_eq!(count(&ledger, "SELECT count(*) FROM ledger"), 1);
}

#[test]
fn a_line_without_a_payment_is_refused_by_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "INSERT INTO ledger (payment_id, kind, amount, currency, idempotency_key, at)
                VALUES ('pay_unknown', 'captured', 1, 'EUR', 'key', 1)";
    let refused = at_once(open(dir.path()).database.write(|tx| tx.execute(line, [])));
    let error = refused.expect_err("a reference to nothing").to_string();
    assert!(error.contains("FOREIGN KEY"), "{error}");
}

#[test]
fn attempts_while_down_are_counted_across_restarts_and_leave_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let down = create("key", 5, Behaviour::Down);
    for _attempt in 0..DOWN_ATTEMPTS {
        let ledger = open(dir.path());
        assert_eq!(apply_one(&ledger, &down), Outcome::Down);
        assert_eq!(count(&ledger, "SELECT count(*) FROM payments"), 0);
        assert_eq!(count(&ledger, "SELECT count(*) FROM operations"), 0);
    }
    let ledger = open(dir.path());
    assert!(matches!(apply_one(&ledger, &down), Outcome::Answered(Answer { status: 201, .. })));
    assert!(matches!(apply_one(&ledger, &down), Outcome::Replayed(_)));
}

#[test]
fn a_lost_answer_is_recorded_and_told_to_the_second_attempt_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let lost = create("key", 5, Behaviour::AnswerLost);
    assert_eq!(apply_one(&open(dir.path()), &lost), Outcome::AnswerLost);
    assert!(matches!(
        apply_one(&open(dir.path()), &lost),
        Outcome::Replayed(Answer { status: 201, .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_has_queued_up_shares_a_transaction_and_a_lone_write_has_its_own() {
    const WRITES: u64 = 2_000;
    let dir = tempfile::tempdir().expect("a directory");
    let (keeper, access) = Keeper::start(open(dir.path()));
    let access = Arc::new(access);
    access.submit(create("alone", 5, Behaviour::Approve)).await.expect("written");
    assert_eq!((access.stats().transactions, access.stats().largest_batch), (1, 1));

    let mut submitted = tokio::task::JoinSet::new();
    for n in 0..WRITES {
        let access = Arc::clone(&access);
        submitted.spawn(async move {
            access.submit(create(&format!("key-{n}"), 5, Behaviour::Approve)).await
        });
    }
    while let Some(outcome) = submitted.join_next().await {
        assert!(matches!(outcome.expect("no panic"), Ok(Outcome::Answered(_))));
    }
    let stats = access.stats();
    assert_eq!(stats.writes, WRITES + 1);
    assert!(stats.transactions < WRITES / 10, "{stats:?}");
    assert!(stats.largest_batch <= MAX_BATCH as u64, "{stats:?}");

    keeper.close().await.expect("a clean end");
    assert_eq!(access.submit(create("late", 5, Behaviour::Approve)).await, Err(NotWritten::Closed));
    assert_eq!(count(&open(dir.path()), "SELECT count(*) FROM ledger"), WRITES as i64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_cannot_be_written_fails_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(dir.path());
    let poison = "CREATE TRIGGER poison BEFORE INSERT ON payments WHEN new.amount = 666
                  BEGIN SELECT raise(ABORT, 'cannot be written'); END";
    ledger.database.write(|tx| tx.execute_batch(poison)).await.expect("a trigger");
    let (keeper, access) = Keeper::start(ledger);
    let access = Arc::new(access);
    let mut submitted = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (access, amount) = (Arc::clone(&access), if n % 10 == 0 { 666 } else { 5 });
        submitted.spawn(async move {
            let outcome =
                access.submit(create(&format!("key-{n}"), amount, Behaviour::Approve)).await;
            (amount, outcome)
        });
    }
    while let Some(ended) = submitted.join_next().await {
        let (amount, outcome) = ended.expect("no panic");
        assert_eq!(outcome.is_err(), amount == 666, "{outcome:?}");
    }
    keeper.close().await.expect("a clean end");
    assert_eq!(count(&open(dir.path()), "SELECT count(*) FROM ledger"), 90);
}

/// A random operation on one of a few payments. The amounts are small, so that they often reach the
/// limits.
#[derive(Debug, Clone)]
enum Step {
    Create { amount: i64, behaviour: Behaviour },
    Capture { payment: usize, amount: i64 },
    Cancel { payment: usize },
    Refund { payment: usize, amount: i64 },
    RepeatEarlier { step: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let behaviour = prop_oneof![
        4 => Just(Behaviour::Approve),
        1 => Just(Behaviour::Decline),
        1 => Just(Behaviour::AnswerLost),
        1 => Just(Behaviour::CaptureAnswerLost),
        1 => Just(Behaviour::CaptureDeclined),
        1 => Just(Behaviour::Down),
    ];
    prop_oneof![
        2 => (1..4_i64, behaviour).prop_map(|(amount, behaviour)| Step::Create { amount, behaviour }),
        4 => (0..4_usize, 1..4_i64).prop_map(|(payment, amount)| Step::Capture { payment, amount }),
        1 => (0..4_usize).prop_map(|payment| Step::Cancel { payment }),
        4 => (0..4_usize, 1..4_i64).prop_map(|(payment, amount)| Step::Refund { payment, amount }),
        2 => (0..40_usize).prop_map(|step| Step::RepeatEarlier { step }),
    ]
}

/// Counts payments that break 0 ≤ refunded ≤ captured ≤ authorised, or whose status disagrees with
/// their ledger entries.
const BROKEN: &str = "
    SELECT count(*) FROM (
        SELECT p.status AS status, p.amount AS amount,
               coalesce(sum(l.amount) FILTER (WHERE l.kind = 'authorised'), 0) AS authorised,
               coalesce(sum(l.amount) FILTER (WHERE l.kind = 'captured'), 0) AS captured,
               coalesce(sum(l.amount) FILTER (WHERE l.kind = 'cancelled'), 0) AS cancelled,
               coalesce(sum(l.amount) FILTER (WHERE l.kind = 'refunded'), 0) AS refunded
        FROM payments p LEFT JOIN ledger l ON l.payment_id = p.id GROUP BY p.id)
    WHERE NOT (0 <= refunded AND refunded <= captured AND captured <= authorised AND authorised <= amount)
       OR (captured > 0 AND cancelled > 0)
       OR (status = 'captured') <> (captured = amount)
       OR (status = 'cancelled') <> (cancelled = amount)
       OR (status = 'declined') <> (authorised = 0)";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn refunded_never_exceeds_captured_nor_captured_what_was_authorised(
        steps in prop::collection::vec(step(), 1..60),
        batch in 1..8_usize,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = open(dir.path());
        let mut sent: Vec<Submission> = Vec::new();
        for (turn, steps) in steps.chunks(batch).enumerate() {
            let ids: Vec<String> = {
                let all = "SELECT id FROM payments ORDER BY id";
                let read = ledger.database.read(|c| c.prepare(all)?.query_map([], |row| row.get(0))?.collect());
                at_once(read).expect("ids")
            };
            let id = |payment: usize| ids.get(payment).cloned().unwrap_or_else(|| "pay_unknown".to_owned());
            let before = sent.len();
            for (n, step) in steps.iter().enumerate() {
                let key = format!("key-{turn}-{n}");
                sent.push(match step {
                    Step::Create { amount, behaviour } => create(&key, *amount, *behaviour),
                    Step::Capture { payment, amount } => {
                        submission(&key, Request::Capture { payment: id(*payment), amount: *amount })
                    }
                    Step::Cancel { payment } => submission(&key, Request::Cancel { payment: id(*payment) }),
                    Step::Refund { payment, amount } => {
                        submission(&key, Request::Refund { payment: id(*payment), amount: *amount })
                    }
                    Step::RepeatEarlier { step } => match sent.get(*step) {
                        Some(earlier) => earlier.clone(),
                        None => create(&key, 1, Behaviour::Approve),
                    },
                });
            }
            let now: Vec<&Submission> = sent[before..].iter().collect();
            let outcomes = apply(&ledger, &now);
            prop_assert_eq!(outcomes.len(), now.len());
            prop_assert!(!outcomes.contains(&Outcome::KeyReused), "every repeat here is a true one");
            prop_assert_eq!(count(&ledger, BROKEN), 0);
        }
    }
}
