//! The quarantine, and operators' actions on its messages.

use saga_core::{Signed, Watermark};
use saga_engine::{
    Act, Handled, Inspected, NewQuarantined, QuarantineFilter, QuarantineState, Quarantined, Range,
    Write,
};
use tokio::task::JoinSet;

use super::{Beneath, Sagas, Store, moved};

holds_on! { Sagas::{postgres_remembering, postgres, sqlite, in_memory}:
    the_quarantine_has_one_row_a_command_id,
    a_message_is_settled_with_its_sagas_turn_or_not_at_all,
    of_two_operators_at_once_one_settles_a_message,
}

/// A message that comes again is counted but adds no row. Its body is kept as it came, whatever the
/// bytes.
pub(super) async fn the_quarantine_has_one_row_a_command_id(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let bodies = [vec![], vec![0], vec![0, 0xff, 0, 0xfe], all, vec![0x5a; 1 << 20]];
    let messages: Vec<NewQuarantined> = bodies
        .into_iter()
        .enumerate()
        .map(|(number, body)| NewQuarantined {
            id: format!("id {number} 😀"),
            reason: "no \"JSON\"; '--".to_owned(),
            from: "saga.replies".to_owned(),
            reply_to: (number % 2 == 0).then(|| "the sender's".to_owned()),
            body,
        })
        .collect();
    sagas.store.quarantine(&messages).await.expect("kept");
    let row = |message: &NewQuarantined| super::Quarantined {
        id: message.id.clone(),
        reason: message.reason.clone(),
        from: message.from.clone(),
        reply_to: message.reply_to.clone(),
        body: message.body.clone(),
        copies: 1,
    };
    let mut expected: Vec<super::Quarantined> = messages.iter().map(row).collect();
    assert!(sagas.beneath.quarantined().await == expected, "not as it came");

    // The messages come again, one of them twice in one call, with another reason and body.
    let again = NewQuarantined {
        reason: "still none".to_owned(),
        body: b"other".to_vec(),
        ..messages[1].clone()
    };
    let others = NewQuarantined { id: "ID 1 😀".to_owned(), ..again.clone() };
    let more = [again.clone(), messages[2].clone(), again, others.clone()];
    sagas.store.quarantine(&more).await.expect("kept");
    expected[1].copies = 3;
    expected[1].reason = "still none".to_owned();
    expected[2].copies = 2;
    expected.insert(0, row(&others));
    assert!(sagas.beneath.quarantined().await == expected, "not counted");
    sagas.store.quarantine(&[]).await.expect("nothing to keep");
}

/// An operator's action on a message and its saga's turn are one transaction. Another copy opens
/// the message again. A settled message is pruned with the sagas of its time.
async fn a_message_is_settled_with_its_sagas_turn_or_not_at_all(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let saga = sagas.some(1).await[0];
    let command = format!("{saga}/reserve-stock/action");
    let reply = format!("{command}/reply");
    let messages = [
        new(&command, "saga.commands.inventory", "unknown type"),
        new(&reply, "saga.replies", "no JSON"),
        new("unnamed 😀", "saga.commands.payment", "no JSON"),
    ];
    for message in &messages {
        sagas.store.quarantine(std::slice::from_ref(message)).await.expect("kept");
    }
    let filter = QuarantineFilter::default;
    assert_eq!(sagas.listed(filter()).await, ["unnamed 😀", &reply, &command]);
    let of_saga = QuarantineFilter { saga: Some(saga), ..filter() };
    assert_eq!(sagas.listed(of_saga).await, [reply.as_str(), command.as_str()]);
    let from = QuarantineFilter { from: Some("payment".to_owned()), ..filter() };
    assert_eq!(sagas.listed(from).await, ["unnamed 😀"]);
    let because = QuarantineFilter { reason: Some("N t".to_owned()), ..filter() };
    assert_eq!(sagas.listed(because).await, Vec::<String>::new());
    let because = QuarantineFilter { reason: Some("known t".to_owned()), ..filter() };
    assert_eq!(sagas.listed(because).await, [command.as_str()]);
    let old = QuarantineFilter { older_than_millis: Some(3_600_000), ..filter() };
    assert_eq!(sagas.listed(old).await, Vec::<String>::new());
    let last = sagas.message(&reply).await;
    let after = QuarantineFilter { after: Some((last.first_seen, last.id)), ..filter() };
    assert_eq!(sagas.listed(after).await, [command.as_str()]);

    // The decision gets the message and the saga, both locked. A turn that fails leaves no trace.
    let before = sagas.version(saga).await;
    let wrong = |found: Inspected| {
        let (message, row) = (found.message.expect("there"), found.saga.expect("there"));
        assert_eq!((message.body.as_slice(), row.version), (b"the body".as_slice(), before));
        assert!(!found.watermark.covers(saga));
        let write = Write { before: 99, ..moved(row) };
        (Some(settled(QuarantineState::Redriven, Some(write))), ())
    };
    let failed = sagas.store.handle(&command, Some(saga), wrong).await;
    assert!(failed.is_err(), "it rests on no row");
    let untouched = sagas.message(&command).await;
    assert_eq!((untouched.version, untouched.state), (1, QuarantineState::Open), "half is there");
    assert_eq!(untouched.acts, []);

    let right = |found: Inspected| {
        let write = moved(found.saga.expect("there"));
        (Some(settled(QuarantineState::Redriven, Some(write))), found.now)
    };
    let at = sagas.store.handle(&command, Some(saga), right).await.expect("settled");
    assert_eq!(sagas.version(saga).await, before + 1);
    assert_eq!(sagas.history(saga).await.len() as u64, before + 1);
    let marked = sagas.message(&command).await;
    assert_eq!((marked.version, marked.state), (2, QuarantineState::Redriven));
    let Handled { state, signed, sent, .. } = settled(QuarantineState::Redriven, None);
    assert_eq!(marked.acts, [Act { version: 2, at, state, signed, sent }]);

    // An operator discards a message without a saga, and a message that does not exist.
    let discard = |found: Inspected| {
        assert!(found.saga.is_none());
        (found.message.map(|_| settled(QuarantineState::Discarded, None)), ())
    };
    sagas.store.handle("unnamed 😀", None, discard).await.expect("settled");
    sagas.store.handle("nowhere", None, discard).await.expect("nothing is there");
    let open = || QuarantineFilter { state: Some(QuarantineState::Open), ..filter() };
    assert_eq!(sagas.listed(open()).await, [reply.as_str()]);
    assert_eq!(sagas.store.census().await.expect("counted").quarantined, 1);

    sagas.store.quarantine(&messages[..1]).await.expect("kept");
    let again = sagas.message(&command).await;
    assert_eq!((again.version, again.copies, again.state), (3, 2, QuarantineState::Open));
    assert_eq!(again.acts, marked.acts, "what was done is kept");

    // Pruning deletes only messages that were settled before the watermark's instant, and only
    // below the store's own watermark.
    let later = Watermark::at(at.plus_millis(3_600_000));
    let all = Range::below(later);
    assert_eq!(sagas.store.prune(&all).await.expect("pruned").quarantined, 0, "not so far");
    let end = |_, found: Vec<_>| (found.into_iter().map(super::ended).collect(), ());
    sagas.store.turn(&[saga], end).await.expect("it ends");
    // A watermark has whole milliseconds, rounded down.
    let dealt_with = sagas.message("unnamed 😀").await.acts[0].at;
    while sagas.store.advance(0).await.expect("raised").watermark.instant() <= dealt_with {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let reached = Range::below(sagas.store.watermark().await.expect("a read"));
    let dry = Range { dry: true, ..reached };
    assert_eq!(sagas.store.prune(&dry).await.expect("counted").quarantined, 1);
    assert_eq!(sagas.store.prune(&reached).await.expect("pruned").quarantined, 1);
    assert_eq!(sagas.listed(filter()).await, [reply, command], "what is open stays");
}

fn new(id: &str, from: &str, reason: &str) -> NewQuarantined {
    NewQuarantined {
        id: id.to_owned(),
        reason: reason.to_owned(),
        from: from.to_owned(),
        reply_to: None,
        body: b"the body".to_vec(),
    }
}

fn settled(state: QuarantineState, write: Option<Write>) -> Handled {
    let signed = Signed { by: "ada".to_owned(), reason: "it is out".to_owned() };
    Handled { state, signed, sent: vec!["reserve-stock/action #1".to_owned()], write }
}

impl<S: Store, B: Beneath> Sagas<S, B> {
    async fn listed(&self, filter: QuarantineFilter) -> Vec<String> {
        let filter = QuarantineFilter { limit: filter.limit.max(10), ..filter };
        let found = self.store.quarantined(&filter).await.expect("a read");
        assert!(found.iter().all(|m| m.body.is_empty() && m.acts.is_empty()), "only if asked for");
        found.into_iter().map(|message| message.id).collect()
    }

    async fn message(&self, id: &str) -> Quarantined {
        let filter = QuarantineFilter { id: Some(id.to_owned()), limit: 1, ..Default::default() };
        self.store.quarantined(&filter).await.expect("a read").pop().expect("it is there")
    }
}

/// An operator who settles a message sees all earlier actions on it, even if many act at once.
pub(super) async fn of_two_operators_at_once_one_settles_a_message(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    const OPERATORS: usize = 8;
    let saga = sagas.some(1).await[0];
    let id = format!("{saga}/reserve-stock/action");
    let message = NewQuarantined {
        id: id.clone(),
        reason: "unknown type".to_owned(),
        from: "saga.commands.inventory".to_owned(),
        reply_to: None,
        body: Vec::new(),
    };
    sagas.store.quarantine(&[message]).await.expect("kept");
    let mut operators = JoinSet::new();
    for _ in 0..OPERATORS {
        let (store, id) = (sagas.store.clone(), id.clone());
        operators.spawn(async move {
            let decide = |found: Inspected| {
                let message = found.message.expect("it is there");
                if message.state != QuarantineState::Open {
                    return (None, 0);
                }
                let write = moved(found.saga.expect("it is there"));
                (Some(settled(QuarantineState::Redriven, Some(write))), 1)
            };
            store.handle(&id, Some(saga), decide).await.expect("nobody is in the way")
        });
    }
    let done: usize = operators.join_all().await.into_iter().sum();
    assert_eq!(done, 1, "done more than once");
    assert_eq!(sagas.version(saga).await, 2);
    assert_eq!(sagas.message(&id).await.version, 2);
}
