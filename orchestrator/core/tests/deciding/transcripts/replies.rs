//! Pauses, and replies that come late, come twice, or belong to no open command.

use expect_test::expect;

use crate::script::check;

#[test]
fn a_pause_records_answers_and_sends_nothing_until_it_is_resumed() {
    check(
        r#"
            start
            op pause
            op pause
            reply create action done
            wake +30s
            op resume
            op resume
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > op pause
              Intervention(Applied) v2 running; no wake
              create open#1
            > op pause
              Intervention(Impossible(PausedAlready))
            > reply create action done
              Applied v3 running; no wake
              create done
            > wake +30s
              Nothing
            > op resume
              Intervention(Applied) v4 running; wake at 33.454s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > op resume
              Intervention(Impossible(NotPaused))
        "#]],
    );
}

#[test]
fn a_pause_holds_compensations_too() {
    check(
        r#"
            start
            reply create action done
            op pause
            cancel
            op resume
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
            > op pause
              Intervention(Applied) v3 running; no wake
              create done, reserve open#1
            > cancel
              Cancel(Accepted) v4 compensating because cancelled by ann; no wake
              create done, reserve unknown
            > op resume
              Intervention(Applied) v5 compensating because cancelled by ann; wake at 2.969s
              create done, reserve undoing#1
              send reserve/compensation #1 {}
        "#]],
    );
}

#[test]
fn a_pause_that_outlasts_the_saga_changes_nothing_after_its_end() {
    check(
        r#"
            start
            op pause
            reply create action refused NO
            op resume
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > op pause
              Intervention(Applied) v2 running; no wake
              create open#1
            > reply create action refused NO
              Applied v3 compensated because create: NO; no wake
              create refused(NO)
            > op resume
              Intervention(Impossible(Ended))
        "#]],
    );
}

#[test]
fn late_duplicate_and_foreign_replies_change_nothing() {
    check(
        r#"
            start
            reply reserve action done {"total":5}
            reply create compensation done
            reply capture compensation refused NO
            reply nowhere action refused NO
            reply create action done
            reply create action done
            cancel
            reply reserve action done {"total":5}
            reply reserve compensation done
            reply reserve compensation done
            reply create compensation done
            reply create compensation done
            reply create action done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply reserve action done {"total":5}
              Foreign
            > reply create compensation done
              Foreign
            > reply capture compensation refused NO
              Foreign
            > reply nowhere action refused NO
              Foreign
            > reply create action done
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > reply create action done
              Duplicate
            > cancel
              Cancel(Accepted) v3 compensating because cancelled by ann; wake at 2.969s
              create done, reserve undoing#1
              send reserve/compensation #1 {}
            > reply reserve action done {"total":5}
              Late
            > reply reserve compensation done
              Applied v4 compensating because cancelled by ann; wake at 2.550s
              create undoing#1, reserve undone
              send create/compensation #1 {"why":"cancelled by ann"}
            > reply reserve compensation done
              Duplicate
            > reply create compensation done
              Applied v5 compensated because cancelled by ann; no wake
              create undone, reserve undone
            > reply create compensation done
              Duplicate
            > reply create action done
              Late
        "#]],
    );
}

#[test]
fn a_redelivered_reply_publishes_only_what_it_opened_and_what_is_still_open() {
    check(
        r#"
            start
            reply create action done
            redelivered reply create action done
            reply reserve action done {"total":5}
            redelivered reply create action done
            redelivered reply reserve action done {"total":5}
            wakes 2
            redelivered reply reserve action done {"total":5}
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
            > redelivered reply create action done
              Duplicate
              send reserve/action #1 {"sku":"teapot"}
            > reply reserve action done {"total":5}
              Applied v3 running; wake at 3.035s
              create done, reserve done, authorise open#1
              send authorise/action #1 {"amount":5}
            > redelivered reply create action done
              Duplicate
            > redelivered reply reserve action done {"total":5}
              Duplicate
              send authorise/action #1 {"amount":5}
            > wakes 2
              Applied v4 running; wake at 10.041s
              create done, reserve done, authorise open#2
              send authorise/action #2 {"amount":5}
            > redelivered reply reserve action done {"total":5}
              Duplicate
        "#]],
    );
}

#[test]
fn a_redelivered_refusal_publishes_the_compensations_that_it_opened() {
    check(
        r#"
            start
            reply create action done
            reply reserve action refused OUT_OF_STOCK
            redelivered reply reserve action refused OUT_OF_STOCK
            redelivered reply create action done
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
            > redelivered reply reserve action refused OUT_OF_STOCK
              Duplicate
              send create/compensation #1 {"why":"reserve: OUT_OF_STOCK"}
            > redelivered reply create action done
              Late
        "#]],
    );
}

#[test]
fn a_repeat_publishes_nothing() {
    check(
        r#"
            start
            reply create action done
            repeat reply create action done
            redelivered repeat reply create action done
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
            > repeat reply create action done
              Duplicate
            > redelivered repeat reply create action done
              Duplicate
        "#]],
    );
}

#[test]
fn a_repeat_of_the_answer_to_an_open_command_counts() {
    check(
        r#"
            start
            redelivered repeat reply create action done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > redelivered repeat reply create action done
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
        "#]],
    );
}

#[test]
fn a_reply_that_does_not_decode_decides_nothing() {
    check(
        r#"
            start
            reply create action done
            reply reserve action done {"total":"five"}
            reply reserve action done {"total":5}
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
            > reply reserve action done {"total":"five"}
              error: the reply to reserve of saga 00000000-0000-0000-0000-000000000007 does not decode: invalid type: string "five", expected u64 at line 1 column 15
            > reply reserve action done {"total":5}
              Applied v3 running; wake at 3.035s
              create done, reserve done, authorise open#1
              send authorise/action #1 {"amount":5}
        "#]],
    );
}
