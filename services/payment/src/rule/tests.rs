use uuid::Uuid;

use super::{
    answer::{
        Authorisation, Cancellation, Capture, Refunding, Said, authorisation, cancellation,
        capture, refunding,
    },
    *,
};

fn euros(minor_units: i64) -> Money {
    Money::new(minor_units, "EUR")
}

fn id(n: u128) -> SagaId {
    SagaId(Uuid::from_u128(n))
}

fn payment(state: State) -> Payment {
    Payment { order: id(1), amount: euros(1_000), state }
}

fn held() -> State {
    State::Authorised { provider_id: "pay_1".to_owned() }
}

fn taken(refunded: i64) -> State {
    State::Captured { provider_id: "pay_1".to_owned(), refunded }
}

fn said(status: &str) -> Said {
    let body = format!(
        r#"{{"id":"pay_1","status":"{status}","amount":1000,"currency":"EUR","captured":0,"later":1}}"#
    );
    Said::read(200, &body).expect("a payment")
}

fn no(status: u16, code: &str) -> Said {
    let body = format!(r#"{{"error":{{"code":"{code}","message":"words"}}}}"#);
    Said::read(status, &body).expect("an error")
}

fn code<R: std::fmt::Debug>(answer: Answer<R>) -> String {
    match answer {
        Answer::Refused(refusal) => refusal.code,
        Answer::Done(reply) => panic!("a refusal, not {reply:?}"),
    }
}

#[test]
fn only_a_positive_amount_with_a_currency_can_be_asked_for() {
    assert_eq!(payable(Some(&euros(1))), Ok(euros(1)));
    for amount in
        [None, Some(euros(0)), Some(euros(-1)), Some(Money::new(1, "")), Some(Money::new(1, "eur"))]
    {
        let refusal = payable(amount.as_ref()).expect_err("refused");
        assert_eq!(refusal.code, "INVALID_AMOUNT", "{amount:?}");
    }
}

#[test]
fn a_decline_keeps_its_code_and_the_two_kinds_are_told_apart() {
    for (word, expected) in [
        ("insufficient_funds", "INSUFFICIENT_FUNDS"),
        ("card_declined", "CARD_DECLINED"),
        ("something_new", "CARD_DECLINED"),
    ] {
        let body = format!(
            r#"{{"id":"pay_1","status":"declined","decline_code":"{word}","amount":1000,"currency":"EUR"}}"#
        );
        let said = Said::read(201, &body).expect("a payment");
        let found = authorisation(said).expect("clear");
        let settled = settle_authorisation(id(1), &euros(1_000), &found);
        assert_eq!(code(settled.answer), expected);
        assert_eq!(settled.entries[0].kind, Kind::Declined);
    }
}

#[test]
fn an_unknown_token_is_a_refusal_and_a_taken_key_proves_nothing() {
    let Ok(Authorisation::Declined { provider_id: None, refusal }) =
        authorisation(no(400, "invalid_token"))
    else {
        panic!("a decline without a payment")
    };
    assert_eq!(refusal.code, "INVALID_TOKEN");
    for unclear in [no(422, "idempotency_key_reused"), no(408, "request_timeout"), no(400, "else")]
    {
        assert!(authorisation(unclear).is_err());
    }
}

#[test]
fn a_body_that_is_not_understood_proves_nothing() {
    for (status, body) in [
        (200, ""),
        (200, "[]"),
        (200, r#"{"id":"pay_1","status":"new word","amount":1,"currency":"EUR"}"#),
        (404, "not found"),
        (302, "{}"),
        (500, r#"{"error":{"code":"internal"}}"#),
    ] {
        assert!(Said::read(status, body).is_err(), "{status} {body}");
    }
}

#[test]
fn undo_asks_by_key_where_the_answer_is_not_on_record_and_by_id_where_it_is() {
    assert_eq!(undo(None), Undo::ByKey { intended: None });
    assert_eq!(
        undo(Some(&payment(State::Authorising))),
        Undo::ByKey { intended: Some(euros(1_000)) }
    );
    assert_eq!(
        undo(Some(&payment(held()))),
        Undo::Known { provider_id: "pay_1".to_owned(), amount: euros(1_000) }
    );
}

#[test]
fn undo_of_a_decline_has_nothing_to_ask_and_a_captured_payment_is_never_voided() {
    let declined = State::Declined { provider_id: None, code: "X".to_owned() };
    assert_eq!(undo(Some(&payment(declined))), Undo::Answer(voided(false)));
    let Undo::Answer(answer) = undo(Some(&payment(taken(0)))) else { panic!("nothing to ask") };
    assert_eq!(code(answer), "ALREADY_CAPTURED");
    let found = cancellation(no(409, "payment_captured"), "pay_1", &euros(1_000)).expect("clear");
    assert_eq!(found, Cancellation::AlreadyCaptured);
    assert_eq!(code(settle_undo(id(1), None, &found).answer), "ALREADY_CAPTURED");
}

#[test]
fn a_hold_that_was_let_go_leaves_both_lines_and_says_so() {
    let found = cancellation(said("cancelled"), "pay_1", &euros(1_000)).expect("clear");
    let settled = settle_undo(id(1), Some(&euros(1_000)), &found);
    assert_eq!(settled.answer, voided(true));
    let kinds: Vec<Kind> = settled.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Authorised, Kind::Voided]);
}

#[test]
fn nothing_held_closes_the_intent_without_a_line() {
    let settled = settle_undo(id(1), Some(&euros(1_000)), &Cancellation::NothingHeld);
    assert_eq!(settled.payment, Some(payment(State::Voided { provider_id: None })));
    assert_eq!((settled.entries, settled.answer), (Vec::new(), voided(false)));
    assert_eq!(settle_undo(id(1), None, &Cancellation::NothingHeld).payment, None);
}

#[test]
fn only_held_money_is_taken_and_taking_it_again_says_that_it_is_taken() {
    assert!(matches!(take(Some(&payment(held()))), Take::Hold { .. }));
    assert_eq!(take(Some(&payment(taken(7)))), Take::Answer(captured(&euros(1_000))));
    for state in [
        State::Declined { provider_id: None, code: "X".to_owned() },
        State::Voided { provider_id: Some("pay_1".to_owned()) },
    ] {
        let Take::Answer(answer) = take(Some(&payment(state))) else { panic!("nothing to ask") };
        assert_eq!(code(answer), "NOT_AUTHORISED");
    }
}

#[test]
fn a_capture_without_a_hold_on_record_is_looked_up_before_it_is_refused() {
    assert_eq!(take(Some(&payment(State::Authorising))), Take::LookUp);
    assert_eq!(take(None), Take::LookUp);
    let found = capture(said("captured"), None).expect("clear");
    let settled = settle_capture(id(1), &found, true);
    assert_eq!(settled.payment, Some(payment(taken(0))));
    let kinds: Vec<Kind> = settled.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Authorised, Kind::Captured]);
    assert!(capture(no(409, "payment_captured"), None).is_err(), "nobody knows how much");
}

#[test]
fn a_capture_that_is_declined_leaves_the_hold_as_it_was() {
    let found = capture(no(409, "capture_declined"), None).expect("clear");
    let settled = settle_capture(id(1), &found, false);
    assert_eq!((settled.payment, settled.entries), (None, Vec::new()));
    assert_eq!(code(settled.answer), "CAPTURE_DECLINED");
}

#[test]
fn a_capture_is_clear_only_where_the_money_is_taken_or_never_will_be() {
    for said in [said("captured"), no(409, "payment_captured")] {
        let amount = euros(1_000);
        let captured =
            Capture::Captured { provider_id: "pay_1".to_owned(), amount: amount.clone() };
        assert_eq!(capture(said, Some(("pay_1", &amount))), Ok(captured));
    }
    for said in [no(409, "payment_cancelled"), no(404, "payment_not_found")] {
        assert_eq!(capture(said, None), Ok(Capture::Refused(not_authorised())));
    }
    for said in [said("authorised"), no(422, "idempotency_key_reused"), no(404, "not_found")] {
        assert!(capture(said, None).is_err());
    }
}

fn wish(refunds: &mut Vec<Refund>, saga: u128, amount: Money) -> Reservation {
    reserve(Some(&payment(taken(0))), refunds, id(saga), Some(&amount))
}

#[test]
fn refunds_side_by_side_reserve_no_more_than_was_taken() {
    let mut refunds = Vec::new();
    assert!(matches!(wish(&mut refunds, 2, euros(600)), Reservation::Ask { .. }));
    let Reservation::Answer(answer) = wish(&mut refunds, 3, euros(401)) else { panic!("too much") };
    assert_eq!(code(answer), "REFUND_EXCEEDS_CAPTURED");
    assert!(matches!(wish(&mut refunds, 4, euros(400)), Reservation::Ask { .. }));
    refunds[0].state = RefundState::Refused;
    assert!(matches!(wish(&mut refunds, 5, euros(600)), Reservation::Ask { .. }));
}

#[test]
fn a_resumed_refund_is_not_reserved_twice() {
    let mut refunds = Vec::new();
    let first = wish(&mut refunds, 2, euros(1_000));
    assert_eq!(wish(&mut refunds, 2, euros(1_000)), first);
    assert_eq!(refunds.len(), 1);
}

#[test]
fn only_what_was_taken_is_given_back_and_in_its_currency() {
    let mut none = Vec::new();
    for payment in [None, Some(payment(held()))] {
        let Reservation::Answer(answer) =
            reserve(payment.as_ref(), &mut none, id(2), Some(&euros(1)))
        else {
            panic!("nothing was taken")
        };
        assert_eq!(code(answer), "NOT_CAPTURED");
    }
    for (amount, expected) in [
        (Money::new(1, "USD"), "CURRENCY_MISMATCH"),
        (euros(0), "INVALID_AMOUNT"),
        (euros(i64::MAX), "REFUND_EXCEEDS_CAPTURED"),
    ] {
        let Reservation::Answer(answer) = wish(&mut none, 2, amount) else { panic!("refused") };
        assert_eq!(code(answer), expected);
    }
    assert!(none.is_empty());
}

#[test]
fn a_refund_counts_once_it_is_done_and_frees_its_amount_when_it_is_refused() {
    let mut payment = payment(taken(100));
    let mut refund =
        Refund { saga: id(2), order: id(1), amount: euros(300), state: RefundState::Intended };
    let found = refunding(no(409, "refund_exceeds_captured")).expect("clear");
    let settled = settle_refund(&mut payment, &mut refund, &found).expect("captured");
    assert_eq!((settled.payment, refund.state), (None, RefundState::Refused));
    refund.state = RefundState::Intended;
    let settled = settle_refund(&mut payment, &mut refund, &Refunding::Refunded).expect("captured");
    assert_eq!((payment.state, refund.state), (taken(400), RefundState::Done));
    assert_eq!((settled.entries[0].saga, settled.entries[0].order), (id(2), id(1)));
}
