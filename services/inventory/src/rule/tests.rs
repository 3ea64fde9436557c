//! Tests the rules of stock, one by one and in random sequences.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn product(sku: &str, price: Money, available: i64) -> (String, Product) {
    let levels = Levels { received: available, available, ..Levels::default() };
    (sku.to_owned(), Product { sku: sku.to_owned(), name: sku.to_owned(), price, levels })
}

fn shelf() -> Stock {
    Stock::from([
        product("cup", Money::new(300, "EUR"), 10),
        product("kettle", Money::new(4_000, "USD"), 10),
        product("palace", Money::new(i64::MAX / 2, "EUR"), 10),
        product("teapot", Money::new(2_500, "EUR"), 3),
    ])
}

fn line(sku: &str, quantity: i64) -> Line {
    Line { sku: sku.to_owned(), quantity }
}

fn wish(lines: &[(&str, i64)]) -> ReserveStock {
    let lines = lines.iter().map(|(sku, quantity)| line(sku, *quantity)).collect();
    ReserveStock { lines, expected_total: None }
}

fn refused(command: &ReserveStock) -> Refusal {
    let mut stock = shelf();
    let refusal = reserve(&mut stock, command).expect_err("it is refused");
    assert_eq!(stock, shelf(), "a refusal changes nothing");
    refusal
}

#[test]
fn a_reservation_is_priced_from_the_catalogue() {
    let mut stock = shelf();
    let promise = reserve(&mut stock, &wish(&[("teapot", 2), ("cup", 4)])).expect("in stock");
    assert_eq!(promise.total, Money::new(6_200, "EUR"));
    let prices: Vec<_> = promise.lines.iter().map(|l| l.unit_price.clone()).collect();
    assert_eq!(prices, [Some(Money::new(2_500, "EUR")), Some(Money::new(300, "EUR"))]);
    let teapot = Levels { received: 3, available: 1, reserved: 2, sold: 0 };
    assert_eq!(stock["teapot"].levels, teapot);
}

#[test]
fn the_last_piece_can_be_reserved_and_no_more() {
    let mut stock = shelf();
    assert!(reserve(&mut stock, &wish(&[("teapot", 3)])).is_ok());
    let refusal = reserve(&mut stock, &wish(&[("teapot", 1)])).expect_err("none is left");
    assert_eq!(refusal, Refusal::new("OUT_OF_STOCK", "1 of teapot wanted, 0 available"));
}

#[test]
fn one_line_that_cannot_be_had_refuses_them_all() {
    let refusal = refused(&wish(&[("cup", 1), ("teapot", 4)]));
    assert_eq!(refusal, Refusal::new("OUT_OF_STOCK", "4 of teapot wanted, 3 available"));
    assert_eq!(refused(&wish(&[("cup", 1), ("saucer", 1)])).code, "UNKNOWN_SKU");
    assert_eq!(refused(&wish(&[("cup", 1), ("'; DROP TABLE", 1)])).code, "UNKNOWN_SKU");
}

#[test]
fn lines_that_make_no_sense_are_refused() {
    let many: Vec<String> = (0..=MAX_LINES).map(|n| n.to_string()).collect();
    let many: Vec<(&str, i64)> = many.iter().map(|sku| (sku.as_str(), 1)).collect();
    for lines in [
        &[][..],
        &[("cup", 0)],
        &[("cup", -1)],
        &[("cup", i64::MIN)],
        &[("cup", 1), ("teapot", 1), ("cup", 1)],
        &many,
    ] {
        assert_eq!(refused(&wish(lines)).code, "INVALID_LINES", "{lines:?}");
    }
    assert_eq!(refused(&wish(&[("cup", i64::MAX)])).code, "OUT_OF_STOCK");
}

#[test]
fn amounts_are_exact_or_refused() {
    assert_eq!(refused(&wish(&[("cup", 1), ("kettle", 1)])).code, "CURRENCY_MISMATCH");
    assert_eq!(refused(&wish(&[("palace", 3)])).code, "AMOUNT_OVERFLOW");
    assert_eq!(refused(&wish(&[("palace", 2), ("cup", 1)])).code, "AMOUNT_OVERFLOW");
}

#[test]
fn a_total_that_the_client_did_not_expect_is_refused() {
    let with = |expected| ReserveStock { expected_total: Some(expected), ..wish(&[("cup", 2)]) };
    assert!(reserve(&mut shelf(), &with(Money::new(600, "EUR"))).is_ok());
    for expected in [Money::new(599, "EUR"), Money::new(600, "USD"), Money::default()] {
        assert_eq!(refused(&with(expected)).code, "PRICE_CHANGED");
    }
}

#[test]
fn what_is_reserved_is_given_back_or_sold() {
    let mut stock = shelf();
    reserve(&mut stock, &wish(&[("cup", 4)])).expect("in stock");
    release(&mut stock, &[line("cup", 1)]).expect("it balances");
    commit(&mut stock, &[line("cup", 3)]).expect("it balances");
    assert_eq!(stock["cup"].levels, Levels { received: 10, available: 7, reserved: 0, sold: 3 });
}

#[test]
fn more_than_is_reserved_is_neither_given_back_nor_sold() {
    for close in [release, commit] {
        for (sku, quantity) in [("cup", 1), ("cup", 0), ("cup", -1), ("saucer", 1)] {
            let imbalance = Imbalance { sku: sku.to_owned() };
            assert_eq!(close(&mut shelf(), &[line(sku, quantity)]), Err(imbalance));
        }
    }
}

#[test]
fn an_sku_has_one_spelling() {
    assert!(is_sku("teapot") && is_sku("a.b_c-9") && is_sku(&"x".repeat(MAX_SKU_BYTES)));
    for text in ["", "Teapot", "tea pot", "tée", "nul\0", &"x".repeat(MAX_SKU_BYTES + 1)] {
        assert!(!is_sku(text), "{text:?}");
    }
}

/// A random change of the stock.
#[derive(Clone, Debug)]
enum Act {
    Reserve(Vec<Line>),
    Release(usize),
    Commit(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let sku = prop::sample::select(vec!["cup", "kettle", "palace", "teapot", "saucer"]);
    let quantity = prop_oneof![4 => 1..5_i64, 1 => Just(0), 1 => any::<i64>()];
    let line = (sku, quantity).prop_map(|(sku, quantity)| line(sku, quantity));
    prop_oneof![
        3 => prop::collection::vec(line, 0..4).prop_map(Act::Reserve),
        1 => any::<usize>().prop_map(Act::Release),
        1 => any::<usize>().prop_map(Act::Commit),
    ]
}

proptest! {
    #[test]
    fn stock_is_conserved_whatever_happens(acts in prop::collection::vec(act(), 0..60)) {
        let mut stock = shelf();
        let mut open: Vec<Vec<Line>> = Vec::new();
        for act in acts {
            let before = stock.clone();
            match act {
                Act::Reserve(lines) => {
                    let command = ReserveStock { lines: lines.clone(), expected_total: None };
                    match reserve(&mut stock, &command) {
                        Ok(promise) => {
                            let promised: Vec<_> = promise.lines.iter()
                                .map(|l| line(&l.sku, l.quantity)).collect();
                            prop_assert_eq!(&promised, &lines);
                            open.push(lines);
                        }
                        Err(_) => prop_assert_eq!(&stock, &before),
                    }
                }
                Act::Release(n) if !open.is_empty() => {
                    let lines = open.swap_remove(n % open.len());
                    prop_assert_eq!(release(&mut stock, &lines), Ok(()));
                }
                Act::Commit(n) if !open.is_empty() => {
                    let lines = open.swap_remove(n % open.len());
                    prop_assert_eq!(commit(&mut stock, &lines), Ok(()));
                }
                Act::Release(_) | Act::Commit(_) => {}
            }
            let mut held: BTreeMap<&str, i64> = BTreeMap::new();
            for line in open.iter().flatten() {
                *held.entry(&line.sku).or_default() += line.quantity;
            }
            for (sku, Product { levels, .. }) in &stock {
                let Levels { received, available, reserved, sold } = *levels;
                prop_assert_eq!(received, available + reserved + sold);
                prop_assert!(available >= 0 && reserved >= 0 && sold >= 0);
                prop_assert_eq!(received, before[sku].levels.received);
                prop_assert_eq!(reserved, held.get(sku.as_str()).copied().unwrap_or(0));
            }
        }
    }
}
