//! Tests the rules of orders, one by one and in random sequences.

use proptest::prelude::*;

use super::*;

fn line(sku: &str, quantity: i64) -> Line {
    Line { sku: sku.to_owned(), quantity }
}

fn priced(sku: &str, quantity: i64, cents: i64) -> PricedLine {
    PricedLine { sku: sku.to_owned(), quantity, unit_price: Some(Money::new(cents, "EUR")) }
}

fn order(customer: &str, lines: Vec<Line>) -> CreateOrder {
    CreateOrder { customer: customer.to_owned(), lines, caller: "anonymous".to_owned() }
}

fn pending() -> Known {
    Known { status: Status::Pending, lines: vec![line("teapot", 2), line("cup", 4)] }
}

fn confirmation() -> ConfirmOrder {
    ConfirmOrder {
        lines: vec![priced("teapot", 2, 2_500), priced("cup", 4, 300)],
        total: Some(Money::new(6_200, "EUR")),
    }
}

fn rejection(cancelled: bool) -> RejectOrder {
    let (reason_code, reason) = ("OUT_OF_STOCK".into(), "no teapots".into());
    RejectOrder { reason_code, reason, cancelled, order: None }
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.expect_err("it is refused").code
}

#[test]
fn an_order_needs_a_customer_and_lines_that_can_be_had() {
    assert_eq!(create(&order("Ada", vec![line("teapot", 1)])), Ok(()));
    assert_eq!(create(&order("ع 👩‍🚀", vec![line("teapot", i64::MAX)])), Ok(()));
    for customer in ["", "nul\0", &"x".repeat(201)] {
        assert_eq!(code(create(&order(customer, vec![line("teapot", 1)]))), "INVALID_CUSTOMER");
    }
    for lines in [
        vec![],
        vec![line("", 1)],
        vec![line("nul\0", 1)],
        vec![line(&"x".repeat(65), 1)],
        vec![line("teapot", 0)],
        vec![line("teapot", i64::MIN)],
        vec![line("teapot", 1), line("cup", 1), line("teapot", 1)],
        (0..=MAX_LINES).map(|n| line(&n.to_string(), 1)).collect(),
    ] {
        assert_eq!(code(create(&order("Ada", lines))), "INVALID_LINES");
    }
}

#[test]
fn a_pending_order_can_end_in_each_of_three_ways() {
    let mut known = pending();
    let confirmed = confirm(Some(&mut known), &confirmation()).expect("it may");
    let total = Money::new(6_200, "EUR");
    assert_eq!(confirmed, End::Confirmed { unit_prices: vec![2_500, 300], total });
    assert_eq!(known.status, Status::Confirmed);

    let reason = Reason { code: "OUT_OF_STOCK".into(), text: "no teapots".into() };
    let mut known = pending();
    let rejected = reject(Some(&mut known), &rejection(false)).expect("it may");
    assert_eq!((rejected, known.status), (End::Rejected(reason.clone()), Status::Rejected));
    let mut known = pending();
    let cancelled = reject(Some(&mut known), &rejection(true)).expect("it may");
    assert_eq!((cancelled, known.status), (End::Cancelled(reason), Status::Cancelled));
}

#[test]
fn an_order_that_does_not_exist_is_neither_confirmed_nor_rejected() {
    assert_eq!(code(confirm(None, &confirmation())), "NO_SUCH_ORDER");
    assert_eq!(code(reject(None, &rejection(false))), "NO_SUCH_ORDER");
}

#[test]
fn prices_must_be_those_of_the_ordered_lines_and_add_up() {
    let wrong: [fn(&mut ConfirmOrder); 10] = [
        |c| c.total = None,
        |c| c.total = Some(Money::new(6_200, "eur")),
        |c| c.total = Some(Money::new(6_200, "USD")),
        |c| c.total = Some(Money::new(6_201, "EUR")),
        |c| c.lines.truncate(1),
        |c| c.lines[0].sku = "kettle".into(),
        |c| c.lines[0].quantity = 3,
        |c| c.lines[0].unit_price = None,
        |c| c.lines[0].unit_price = Some(Money::new(i64::MAX, "EUR")),
        |c| c.lines[0].unit_price = Some(Money::new(-1, "EUR")),
    ];
    for spoil in wrong {
        let mut command = confirmation();
        spoil(&mut command);
        let mut known = pending();
        assert_eq!(code(confirm(Some(&mut known), &command)), "INVALID_PRICES", "{command:?}");
        assert_eq!(known, pending(), "a refusal changes nothing");
    }
}

#[test]
fn a_reason_that_a_database_cannot_hold_does_not_keep_an_order_from_being_undone() {
    let reason = format!("{}é\0", "x".repeat(MAX_REASON_BYTES - 1));
    let command = RejectOrder { reason_code: "A\0B".into(), reason, cancelled: false, order: None };
    let end = reject(Some(&mut pending()), &command).expect("it may");
    let text = "x".repeat(MAX_REASON_BYTES - 1);
    assert_eq!(end, End::Rejected(Reason { code: "AB".into(), text }));
}

proptest! {
    #[test]
    fn an_order_ends_once_whatever_comes_after(commands in prop::collection::vec(0..3, 1..8)) {
        let mut known = pending();
        let mut ended = None;
        for command in commands {
            let result = match command {
                0 => confirm(Some(&mut known), &confirmation()),
                1 => reject(Some(&mut known), &rejection(false)),
                _ => reject(Some(&mut known), &rejection(true)),
            };
            match ended {
                None => {
                    prop_assert!(result.is_ok());
                    ended = Some(known.status);
                }
                Some(status) => {
                    prop_assert_eq!(code(result), "ILLEGAL_TRANSITION");
                    prop_assert_eq!(known.status, status);
                }
            }
        }
    }
}
