use saga_core::{Admitted, Answer, Cause, Command};
use saga_proto::{
    Money,
    inventory::v1::{
        CommitStock, ReleaseStock, ReserveStock, StockCommittedReply, StockReservedReply,
    },
    order::v1::{
        ConfirmOrder, CreateOrder, OrderConfirmedReply, OrderCreated, OrderRejectedReply,
        RejectOrder,
    },
    payment::v1::{AuthorisePayment, CapturePayment, VoidAuthorisation},
    types::v1::{Line, PricedLine},
};

use super::*;
use saga_definitions::PlaceOrder;

const HOUR: u64 = 3_600_000;

type Records = BTreeMap<String, Record>;

/// The recorded answer to a command that was done.
fn done<C: Command>(reply: C::Reply) -> Half {
    let recorded = Recorded::of::<C>(&Answer::Done(reply), None, 1, Timestamp(0));
    Half::Answered(serde_json::to_string(&recorded).expect("JSON"))
}

fn reserved() -> StockReservedReply {
    let price = Money { minor_units: 1_250, currency: "EUR".to_owned() };
    let line = PricedLine { sku: "cup".to_owned(), quantity: 1, unit_price: Some(price.clone()) };
    StockReservedReply { lines: vec![line], total: Some(price) }
}

/// The records of an order up to its hold.
fn held() -> Records {
    let action = |action| Record { action, compensation: Half::None };
    Records::from([
        ("create-order".to_owned(), action(done::<CreateOrder>(OrderCreated {}))),
        ("reserve-stock".to_owned(), action(done::<ReserveStock>(reserved()))),
        ("authorise-payment".to_owned(), action(done::<AuthorisePayment>(Default::default()))),
    ])
}

fn captured() -> Records {
    let mut records = held();
    let captured = done::<CapturePayment>(Default::default());
    records.insert("capture-payment".to_owned(), Record { action: captured, ..Record::default() });
    records
}

/// Begins an order at time 0, and tells it these records an hour later.
fn told(known: &Known<'_>) -> (Instance, Vec<HistoryEntry>) {
    let hosted = saga_definitions::hosted(None);
    let definition = hosted.begins("place-order").expect("it is hosted");
    let data = PlaceOrder {
        caller: "alice".to_owned(),
        customer: "alice".to_owned(),
        lines: vec![Line { sku: "cup".to_owned(), quantity: 1 }],
        payment_token: "tok_approved".to_owned(),
        expected_total: None,
        quote: None,
    };
    let data = serde_json::value::to_raw_value(&data).expect("JSON");
    let admitted =
        Admitted { caller: "alice".to_owned(), deadline_millis: 60_000, traceparent: None };
    let id = saga_core::SagaId(uuid::Uuid::from_u128(1));
    let start = definition.start(id, &data, admitted).expect("its data");
    let saga = start(Timestamp(0)).saga.expect("a row");
    catch_up(&**definition, saga, known, Timestamp(0).plus_millis(HOUR)).expect("it is told")
}

fn known(records: &Records) -> Known<'_> {
    Known { records, begun_again: false, cancelled: None, replies: BTreeMap::new() }
}

/// Returns the commands that the saga waits for, as `<step>/<direction>`.
fn open(saga: &Instance) -> Vec<String> {
    let hosted = saga_definitions::hosted(None);
    let definition = hosted.begins("place-order").expect("it is hosted");
    let open = definition.open_commands(saga).expect("it decodes");
    open.iter().map(|command| format!("{}/{}", command.id.step, command.id.direction)).collect()
}

#[test]
fn what_was_captured_in_time_is_not_undone_because_it_is_late_now() {
    let mut records = captured();
    let action = |action| Record { action, compensation: Half::None };
    records.insert(
        "commit-stock".to_owned(),
        action(done::<CommitStock>(StockCommittedReply::default())),
    );
    let (saga, _) = told(&known(&records));
    assert_eq!(
        (saga.phase.clone(), open(&saga)),
        (Phase::Running, vec!["confirm-order/action".to_owned()])
    );
    records
        .insert("confirm-order".to_owned(), action(done::<ConfirmOrder>(OrderConfirmedReply {})));
    let (saga, history) = told(&known(&records));
    assert_eq!(saga.phase, Phase::Completed);
    assert_eq!(history.len(), 6);
    assert_eq!(history.last().map(|entry| entry.version), Some(saga.version));
}

#[test]
fn a_hold_whose_saga_has_no_time_left_is_not_captured_but_undone() {
    let (saga, _) = told(&known(&held()));
    assert_eq!(open(&saga), ["authorise-payment/action"]);
    let hosted = saga_definitions::hosted(None);
    let definition = hosted.begins("place-order").expect("it is hosted");
    let now = Timestamp(0).plus_millis(HOUR);
    let woken = definition.turn(&saga, &Input::Wake, now).expect("decided").saga.expect("moved");
    assert_eq!(woken.phase, Phase::Compensating(Cause::Deadline));
    assert_eq!(open(&woken), ["authorise-payment/compensation"]);
}

#[test]
fn what_was_cancelled_ends_as_cancelled_and_its_undoing_is_not_asked_again() {
    let mut records = held();
    let undone = [
        ("create-order", done::<RejectOrder>(OrderRejectedReply {})),
        ("reserve-stock", done::<ReleaseStock>(Default::default())),
        ("authorise-payment", done::<VoidAuthorisation>(Default::default())),
    ];
    for (step, compensation) in undone {
        records.entry(step.to_owned()).or_default().compensation = compensation;
    }
    // The answer to the hold has never come.
    records.entry("authorise-payment".to_owned()).or_default().action = Half::Begun;
    let wish = Wish { by: "alice".to_owned(), reason: "too dear".to_owned() };
    let (saga, _) = told(&Known { cancelled: Some(wish.clone()), ..known(&records) });
    assert_eq!(saga.phase, Phase::Compensated(Cause::Cancelled(wish)));
    let steps = [StepState::Undone, StepState::Undone, StepState::Undone];
    assert_eq!(saga.steps[..3], steps);
}

#[test]
fn a_forgotten_saga_is_undone_unless_its_pivot_may_have_happened() {
    let (saga, _) = told(&Known { begun_again: true, ..known(&held()) });
    assert!(matches!(saga.phase, Phase::Compensating(Cause::Operator(_))), "{:?}", saga.phase);
    assert_eq!(open(&saga), ["authorise-payment/compensation"]);

    let mut records = held();
    records
        .insert("capture-payment".to_owned(), Record { action: Half::Begun, ..Record::default() });
    let (saga, _) = told(&Known { begun_again: true, ..known(&records) });
    assert_eq!(
        (saga.phase.clone(), open(&saga)),
        (Phase::Running, vec!["capture-payment/action".to_owned()])
    );
}

#[test]
fn a_forgotten_saga_goes_forward_over_what_a_participant_has_forgotten_too() {
    let mut records = captured();
    records.remove("reserve-stock");
    let reply = serde_json::to_string(&reserved()).expect("JSON");
    let replies = BTreeMap::from([("reserve-stock", reply)]);
    let (saga, _) = told(&Known { begun_again: true, replies, ..known(&records) });
    assert_eq!(open(&saga), ["commit-stock/action", "confirm-order/action"]);
    let data: PlaceOrder = serde_json::from_str(saga.data.get()).expect("its data");
    assert_eq!(data.quote.and_then(|quote| quote.total), reserved().total);

    // A saga that is known waits for the answer itself.
    let (saga, _) = told(&known(&records));
    let hosted = saga_definitions::hosted(None);
    let definition = hosted.begins("place-order").expect("it is hosted");
    assert_eq!(gaps(&**definition, &saga, &records), ["reserve-stock"]);
}
