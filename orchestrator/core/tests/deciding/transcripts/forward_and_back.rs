//! Sagas that go forward, and sagas that are undone after a refusal or without an answer.

use expect_test::expect;

use crate::script::check;

#[test]
fn the_happy_path_ends_completed() {
    check(
        r#"
            start
            reply create action done
            reply reserve action done {"total":5}
            reply authorise action done
            reply capture action done
            reply confirm action done
            reply commit action done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply create action done
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > reply reserve action done {"total":5}
              Applied v3 running; wake at 3.035s
              create done, reserve done, authorise open#1
              send authorise/action #1 {"amount":5}
            > reply authorise action done
              Applied v4 running; wake at 2.860s
              create done, reserve done, authorise done, capture open#1
              send capture/action #1 {}
            > reply capture action done
              Applied v5 running; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > reply confirm action done
              Applied v6 running; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit open#1, confirm done
            > reply commit action done
              Applied v7 completed; no wake
              create done, reserve done, authorise done, capture done, commit done, confirm done
        "#]],
    );
}

#[test]
fn the_first_step_refused_leaves_nothing_to_undo() {
    check(
        r#"
            start
            reply create action refused NO_SUCH_CUSTOMER
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply create action refused NO_SUCH_CUSTOMER
              Applied v2 compensated because create: NO_SUCH_CUSTOMER; no wake
              create refused(NO_SUCH_CUSTOMER)
        "#]],
    );
}

#[test]
fn the_second_step_refused_undoes_the_first() {
    check(
        r#"
            start
            reply create action done
            reply reserve action refused OUT_OF_STOCK
            reply create compensation done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply create action done
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > reply reserve action refused OUT_OF_STOCK
              Applied v3 compensating because reserve: OUT_OF_STOCK; wake at 2.550s
              create undoing#1, reserve refused(OUT_OF_STOCK)
              send create/compensation #1 {"why":"reserve: OUT_OF_STOCK"}
            > reply create compensation done
              Applied v4 compensated because reserve: OUT_OF_STOCK; no wake
              create undone, reserve refused(OUT_OF_STOCK)
        "#]],
    );
}

#[test]
fn the_third_step_refused_undoes_two_in_reverse_order() {
    check(
        r#"
            start
            reply create action done
            reply reserve action done {"total":5}
            reply authorise action refused CARD_DECLINED
            reply reserve compensation done
            reply create compensation done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply create action done
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > reply reserve action done {"total":5}
              Applied v3 running; wake at 3.035s
              create done, reserve done, authorise open#1
              send authorise/action #1 {"amount":5}
            > reply authorise action refused CARD_DECLINED
              Applied v4 compensating because authorise: CARD_DECLINED; wake at 2.969s
              create done, reserve undoing#1, authorise refused(CARD_DECLINED)
              send reserve/compensation #1 {}
            > reply reserve compensation done
              Applied v5 compensating because authorise: CARD_DECLINED; wake at 2.550s
              create undoing#1, reserve undone, authorise refused(CARD_DECLINED)
              send create/compensation #1 {"why":"authorise: CARD_DECLINED"}
            > reply create compensation done
              Applied v6 compensated because authorise: CARD_DECLINED; no wake
              create undone, reserve undone, authorise refused(CARD_DECLINED)
        "#]],
    );
}

#[test]
fn a_refused_pivot_undoes_everything() {
    check(
        r#"
            start
            until capture
            reply capture action refused EXPIRED
            reply authorise compensation done
            reply reserve compensation done
            reply create compensation done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > until capture
              Applied v4 running; wake at 2.860s
              create done, reserve done, authorise done, capture open#1
              send capture/action #1 {}
            > reply capture action refused EXPIRED
              Applied v5 compensating because capture: EXPIRED; wake at 2.574s
              create done, reserve done, authorise undoing#1, capture refused(EXPIRED)
              send authorise/compensation #1 {}
            > reply authorise compensation done
              Applied v6 compensating because capture: EXPIRED; wake at 2.574s
              create done, reserve undoing#1, authorise undone, capture refused(EXPIRED)
              send reserve/compensation #1 {}
            > reply reserve compensation done
              Applied v7 compensating because capture: EXPIRED; wake at 2.550s
              create undoing#1, reserve undone, authorise undone, capture refused(EXPIRED)
              send create/compensation #1 {"why":"capture: EXPIRED"}
            > reply create compensation done
              Applied v8 compensated because capture: EXPIRED; no wake
              create undone, reserve undone, authorise undone, capture refused(EXPIRED)
        "#]],
    );
}

#[test]
fn a_step_that_is_never_answered_is_compensated_too() {
    check(
        r#"
            start
            reply create action done
            wakes 5
            wake
            reply reserve compensation done
            reply create compensation done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply create action done
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > wakes 5
              Applied v6 running; wake at 56.997s
              create done, reserve open#5
              send reserve/action #5 {"sku":"teapot"}
            > wake
              Applied v7 running; wake at 60.000s
              create done, reserve open#6
              send reserve/action #6 {"sku":"teapot"}
            > reply reserve compensation done
              Foreign
            > reply create compensation done
              Foreign
        "#]],
    );
}

#[test]
fn steps_side_by_side_settle_before_anything_is_undone() {
    check(
        r#"
            start trip
            until room
            reply room action refused FULL
            reply flight action done
            reply flight compensation done
            reply create compensation done
        "#,
        expect![[r#"
            > start trip
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"trip"}
            > until room
              Applied v2 running; wake at 2.618s
              create done, flight open#1, room open#1
              send flight/action #1 {}
              send room/action #1 {}
            > reply room action refused FULL
              Applied v3 compensating because room: FULL; wake at 2.618s
              create done, flight open#1, room refused(FULL)
            > reply flight action done
              Applied v4 compensating because room: FULL; wake at 2.618s
              create done, flight undoing#1, room refused(FULL)
              send flight/compensation #1 {}
            > reply flight compensation done
              Applied v5 compensating because room: FULL; wake at 2.550s
              create undoing#1, flight undone, room refused(FULL)
              send create/compensation #1 {"why":"room: FULL"}
            > reply create compensation done
              Applied v6 compensated because room: FULL; no wake
              create undone, flight undone, room refused(FULL)
        "#]],
    );
}

#[test]
fn steps_side_by_side_that_never_settle_are_given_up_and_undone() {
    check(
        r#"
            start trip
            until room
            reply room action refused FULL
            wakes 5
            wake
            reply flight compensation done
        "#,
        expect![[r#"
            > start trip
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"trip"}
            > until room
              Applied v2 running; wake at 2.618s
              create done, flight open#1, room open#1
              send flight/action #1 {}
              send room/action #1 {}
            > reply room action refused FULL
              Applied v3 compensating because room: FULL; wake at 2.618s
              create done, flight open#1, room refused(FULL)
            > wakes 5
              Applied v8 compensating because room: FULL; wake at 76.400s
              create done, flight open#6, room refused(FULL)
              send flight/action #6 {}
            > wake
              Applied v9 compensating because room: FULL; wake at 79.734s
              create done, flight undoing#1, room refused(FULL)
              send flight/compensation #1 {}
            > reply flight compensation done
              Applied v10 compensating because room: FULL; wake at 78.950s
              create undoing#1, flight undone, room refused(FULL)
              send create/compensation #1 {"why":"room: FULL"}
        "#]],
    );
}

#[test]
fn steps_side_by_side_are_undone_side_by_side() {
    check(
        r#"
            start trip
            until capture
            reply capture action refused EXPIRED
            reply room compensation done
            reply flight compensation done
            reply create compensation done
        "#,
        expect![[r#"
            > start trip
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"trip"}
            > until capture
              Applied v4 running; wake at 2.618s
              create done, flight done, room done, capture open#1
              send capture/action #1 {}
            > reply capture action refused EXPIRED
              Applied v5 compensating because capture: EXPIRED; wake at 2.585s
              create done, flight undoing#1, room undoing#1, capture refused(EXPIRED)
              send flight/compensation #1 {}
              send room/compensation #1 {}
            > reply room compensation done
              Applied v6 compensating because capture: EXPIRED; wake at 2.585s
              create done, flight undoing#1, room undone, capture refused(EXPIRED)
            > reply flight compensation done
              Applied v7 compensating because capture: EXPIRED; wake at 2.550s
              create undoing#1, flight undone, room undone, capture refused(EXPIRED)
              send create/compensation #1 {"why":"capture: EXPIRED"}
            > reply create compensation done
              Applied v8 compensated because capture: EXPIRED; no wake
              create undone, flight undone, room undone, capture refused(EXPIRED)
        "#]],
    );
}

#[test]
fn too_late_on_an_open_action_counts_as_refused_and_unwinds() {
    check(
        r#"
            start
            reply create action done
            reply reserve action toolate
            reply create compensation done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply create action done
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > reply reserve action toolate
              Applied v3 compensating because reserve: TOO_LATE; wake at 2.550s
              create undoing#1, reserve refused(TOO_LATE)
              send create/compensation #1 {"why":"reserve: TOO_LATE"}
            > reply create compensation done
              Applied v4 compensated because reserve: TOO_LATE; no wake
              create undone, reserve refused(TOO_LATE)
        "#]],
    );
}
