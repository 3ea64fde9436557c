//! Parcels keep their limits, lose no envelope and keep the order.

use proptest::prelude::*;
use saga_messaging::{Envelope, limits, parcel};

use crate::samples::command;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn parcels_keep_their_bounds_and_their_order(
        sizes in prop::collection::vec(prop_oneof![8 => 0..300_usize, 1 => 0..100_000_usize], 0..700),
    ) {
        let envelopes: Vec<Envelope> = (0_u128..)
            .zip(&sizes)
            .map(|(saga, size)| command(saga, &format!("\"{}\"", "x".repeat(*size))))
            .collect();
        check(&envelopes)?;
    }
}

/// Members whose total size reaches the limit on bytes exactly, or misses it by a byte.
#[test]
fn a_parcel_may_be_full_to_the_last_byte() {
    let overhead = command(1, "\"\"").to_json().len();
    for spare in 0..4 {
        let each = (limits::MAX_PARCEL_BYTES - 3) / 2 - overhead;
        let data = |size: usize| format!("\"{}\"", "x".repeat(size));
        let envelopes = [command(1, &data(each)), command(2, &data(each + 2 - spare))];
        check(&envelopes).expect("within bounds");
    }
}

#[test]
fn a_member_that_is_too_large_alone_travels_alone() {
    let huge = command(2, &format!("\"{}\"", "x".repeat(limits::MAX_PARCEL_BYTES)));
    let envelopes = [command(1, "1"), huge, command(3, "3")];
    let ranges: Vec<_> = parcel::write(&envelopes).into_iter().map(|(range, _)| range).collect();
    assert_eq!(ranges, [0..1, 1..2, 2..3]);
}

#[test]
fn nothing_makes_no_parcel() {
    assert!(parcel::write(&[]).is_empty());
}

fn check(envelopes: &[Envelope]) -> Result<(), TestCaseError> {
    let mut next = 0;
    for (range, body) in parcel::write(envelopes) {
        prop_assert_eq!(range.start, next, "in order, without a gap");
        prop_assert!(range.len() <= limits::MAX_PARCEL_MEMBERS);
        prop_assert!(body.len() <= limits::MAX_PARCEL_BYTES || range.len() == 1, "{}", body.len());
        next = range.end;
        let members = parcel::read(&body).expect("reads what it wrote");
        prop_assert_eq!(members.len(), range.len());
        for (member, envelope) in members.into_iter().zip(&envelopes[range]) {
            let read = member.expect("reads what it wrote");
            prop_assert_eq!(read.to_json(), envelope.to_json());
        }
    }
    prop_assert_eq!(next, envelopes.len());
    Ok(())
}
