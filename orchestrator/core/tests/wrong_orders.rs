//! Definitions with a wrong order of steps do not compile (semantics 16). This test also compiles
//! a correct twin of each, which shows that the compiler refuses the order and not some typing
//! error.

#[path = "compile/shop.rs"]
mod shop;

#[path = "compile/right_compensatable_after_the_pivot.rs"]
mod right_compensatable_after_the_pivot;
#[path = "compile/right_compensation_after_the_pivot.rs"]
mod right_compensation_after_the_pivot;
#[path = "compile/right_no_compensation_before_the_pivot.rs"]
mod right_no_compensation_before_the_pivot;
#[path = "compile/right_on_reply_with_the_wrong_type.rs"]
mod right_on_reply_with_the_wrong_type;
#[path = "compile/right_retriable_before_the_pivot.rs"]
mod right_retriable_before_the_pivot;
#[path = "compile/right_second_pivot.rs"]
mod right_second_pivot;
#[path = "compile/right_side_by_side_with_on_reply.rs"]
mod right_side_by_side_with_on_reply;

#[test]
fn wrong_orders_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile/wrong_*.rs");
}

#[test]
fn the_right_orders_do() {
    let _ = right_compensatable_after_the_pivot::steps();
    let _ = right_compensation_after_the_pivot::steps();
    let _ = right_no_compensation_before_the_pivot::steps();
    let _ = right_on_reply_with_the_wrong_type::steps();
    let _ = right_retriable_before_the_pivot::steps();
    let _ = right_second_pivot::steps();
    let _ = right_side_by_side_with_on_reply::steps();
}
