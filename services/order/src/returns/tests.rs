//! Tests the rules of returns, one by one and in random sequences.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn sold(sku: &str, quantity: i64, unit_price: i64) -> Sold {
    Sold { sku: sku.to_owned(), quantity, unit_price, held: 0, returned: 0 }
}

/// Builds a confirmed order of two teapots and four cups.
fn confirmed() -> Returnable {
    Returnable {
        caller: "ann".into(),
        status: Status::Confirmed,
        currency: "EUR".into(),
        lines: vec![sold("teapot", 2, 2_500), sold("cup", 4, 300)],
    }
}

fn wish(lines: &[(&str, i64)]) -> OpenReturn {
    let line = |(sku, quantity): &(&str, i64)| Line { sku: (*sku).to_owned(), quantity: *quantity };
    OpenReturn {
        caller: "ann".into(),
        lines: lines.iter().map(line).collect(),
        reason: "a nul\0 in it".into(),
        ..OpenReturn::default()
    }
}

fn id() -> SagaId {
    SagaId(Uuid::from_u128(7))
}

fn ask(order: &mut Returnable, lines: &[(&str, i64)]) -> Result<Return, Refusal> {
    open(Some(order), id(), id(), &wish(lines))
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.expect_err("it is refused").code
}

#[test]
fn a_return_is_worth_what_was_paid_for_its_lines() {
    let mut order = confirmed();
    let part = ask(&mut order, &[("cup", 3), ("teapot", 1)]).expect("it may");
    assert_eq!((part.amount, part.reason.as_str()), (3_400, "a nul in it"));
    let priced = order.priced(&part.pieces);
    let lines: Vec<_> = priced.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(lines, [("cup", 3), ("teapot", 1)]);
    assert_eq!(priced[0].unit_price, Some(Money::new(300, "EUR")));
    let rest = ask(&mut order, &[]).expect("the rest");
    assert_eq!(rest.amount, 2_800);
    assert_eq!(code(ask(&mut order, &[])), "NOTHING_LEFT");
}

#[test]
fn what_cannot_come_back_is_refused_and_changes_nothing() {
    for (lines, expected) in [
        (&[("teapot", 3)][..], "NOT_RETURNABLE"),
        (&[("teapot", i64::MAX)], "NOT_RETURNABLE"),
        (&[("kettle", 1)], "NOT_ORDERED"),
        (&[("cup", 0)], "INVALID_LINES"),
        (&[("cup", i64::MIN)], "INVALID_LINES"),
        (&[("cup", 1), ("cup", 1)], "INVALID_LINES"),
        (&[("cup", 1), ("teapot", 3)], "NOT_RETURNABLE"),
    ] {
        let mut order = confirmed();
        assert_eq!(code(ask(&mut order, lines)), expected, "{lines:?}");
        assert_eq!(order, confirmed(), "{lines:?}");
    }
    assert_eq!(code(open(None, id(), id(), &wish(&[]))), "NO_SUCH_ORDER");
    let other = OpenReturn { caller: "bob".into(), ..wish(&[]) };
    assert_eq!(code(open(Some(&mut confirmed()), id(), id(), &other)), "NO_SUCH_ORDER");
    for status in [Status::Pending, Status::Rejected, Status::Cancelled] {
        let mut order = Returnable { status, ..confirmed() };
        assert_eq!(code(ask(&mut order, &[])), "NOT_CONFIRMED");
    }
}

#[test]
fn an_open_return_holds_its_pieces_and_a_rejected_one_lets_them_go() {
    let mut order = confirmed();
    let mut first = ask(&mut order, &[("teapot", 2)]).expect("it may");
    assert_eq!(code(ask(&mut order, &[("teapot", 1)])), "NOT_RETURNABLE");
    assert_eq!(end(&mut order, &mut first, ReturnState::Rejected), Ok(()));
    assert_eq!(order, confirmed());
    assert!(ask(&mut order, &[("teapot", 1)]).is_ok());
}

#[test]
fn a_return_ends_once() {
    let mut order = confirmed();
    let mut known = ask(&mut order, &[]).expect("it may");
    assert!(!order.is_whole(), "it is only open");
    assert_eq!(end(&mut order, &mut known, ReturnState::Done), Ok(()));
    assert!(order.is_whole());
    let after = order.clone();
    for to in [ReturnState::Open, ReturnState::Done, ReturnState::Rejected] {
        assert_eq!(code(end(&mut order, &mut known, to)), "ILLEGAL_TRANSITION");
    }
    assert_eq!(order, after);
}

proptest! {
    #[test]
    fn no_more_comes_back_than_was_ordered_nor_is_more_refunded_than_was_paid(
        steps in prop::collection::vec((0..3_u8, 0..3_i64, 0..5_i64), 1..20)
    ) {
        let mut order = confirmed();
        let (mut opened, mut refunded): (Vec<Return>, i64) = (Vec::new(), 0);
        for (what, teapots, cups) in steps {
            if what == 0 {
                opened.extend(ask(&mut order, &[("teapot", teapots + 1), ("cup", cups + 1)]));
                opened.extend(ask(&mut order, &[("cup", cups + 1)]));
            } else if let Some(mut last) = opened.pop() {
                let to = if what == 1 { ReturnState::Done } else { ReturnState::Rejected };
                prop_assert!(end(&mut order, &mut last, to).is_ok());
                refunded += if what == 1 { last.amount } else { 0 };
            }
            for line in &order.lines {
                prop_assert!(line.held >= 0 && line.returned >= 0 && line.left() >= 0);
            }
            let open: i64 = opened.iter().map(|open| open.amount).sum();
            prop_assert!(refunded + open <= 6_200);
            let worth: i64 = order.lines.iter().map(|l| l.returned * l.unit_price).sum();
            prop_assert_eq!(worth, refunded);
        }
    }
}
