//! Sagas that are stuck until a person helps, and the ways out.

use expect_test::expect;

use crate::script::check;

#[test]
fn a_pivot_that_is_never_answered_is_stuck_and_its_late_answer_takes_it_out() {
    check(
        r#"
            start
            until capture
            wakes 19
            wake
            wake
            cancel
            reply capture action done
            reply commit action done
            reply confirm action done
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
            > wakes 19
              Applied v23 running; wake at 1013.288s
              create done, reserve done, authorise done, capture open#20
              send capture/action #20 {}
            > wake
              Applied, ALERT v24 stuck at capture/action: unanswered; wake at 1076.886s
              create done, reserve done, authorise done, capture open#21
              send capture/action #21 {}
            > wake
              Applied v25 stuck at capture/action: unanswered; wake at 1144.087s
              create done, reserve done, authorise done, capture open#22
              send capture/action #22 {}
            > cancel
              Cancel(Recorded) v26 stuck at capture/action: unanswered; wake at 1144.087s
              create done, reserve done, authorise done, capture open#22
            > reply capture action done
              Applied v27 running; wake at 1080.042s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > reply commit action done
              Applied v28 running; wake at 1080.042s
              create done, reserve done, authorise done, capture done, commit done, confirm open#1
            > reply confirm action done
              Applied v29 completed; no wake
              create done, reserve done, authorise done, capture done, commit done, confirm done
        "#]],
    );
}

#[test]
fn a_stuck_compensation_reminds_and_its_late_reply_takes_it_out() {
    check(
        r#"
            start
            reply create action done
            cancel
            reply reserve compensation done
            wakes 19
            wake
            wakes 4
            wake
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
            > cancel
              Cancel(Accepted) v3 compensating because cancelled by ann; wake at 2.969s
              create done, reserve undoing#1
              send reserve/compensation #1 {}
            > reply reserve compensation done
              Applied v4 compensating because cancelled by ann; wake at 2.550s
              create undoing#1, reserve undone
              send create/compensation #1 {"why":"cancelled by ann"}
            > wakes 19
              Applied v23 compensating because cancelled by ann; wake at 1004.980s
              create undoing#20, reserve undone
              send create/compensation #20 {"why":"cancelled by ann"}
            > wake
              Applied, ALERT v24 stuck at create/compensation: unanswered; wake at 1075.821s
              create undoing#21, reserve undone
              send create/compensation #21 {"why":"cancelled by ann"}
            > wakes 4
              Applied v28 stuck at create/compensation: unanswered; wake at 1291.039s
              create undoing#25, reserve undone
              send create/compensation #25 {"why":"cancelled by ann"}
            > wake
              Applied v29 stuck at create/compensation: unanswered; wake at 1304.980s
              create undoing#26, reserve undone
              send create/compensation #26 {"why":"cancelled by ann"}
            > reply create compensation done
              Applied v30 compensated because cancelled by ann; no wake
              create undone, reserve undone
        "#]],
    );
}

#[test]
fn a_refused_compensation_is_stuck_and_reminds() {
    check(
        r#"
            start
            cancel
            reply create compensation refused BROKEN
            wake
            reply create compensation done
            cancel
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > cancel
              Cancel(Accepted) v2 compensating because cancelled by ann; wake at 2.550s
              create undoing#1
              send create/compensation #1 {"why":"cancelled by ann"}
            > reply create compensation refused BROKEN
              Applied, ALERT v3 stuck at create/compensation: BROKEN; wake at 2.550s
              create halted(compensation, BROKEN)
            > wake
              Nothing v3 stuck at create/compensation: BROKEN; wake at 300.000s
              create halted(compensation, BROKEN)
            > reply create compensation done
              Duplicate
            > cancel
              Cancel(Accepted)
        "#]],
    );
}

#[test]
fn a_refused_retriable_step_is_stuck_while_its_neighbour_goes_on() {
    check(
        r#"
            start
            until commit
            reply commit action refused GONE
            reply confirm action done
            wake
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > until commit
              Applied v5 running; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > reply commit action refused GONE
              Applied, ALERT v6 stuck at commit/action: GONE; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm open#1
            > reply confirm action done
              Applied v7 stuck at commit/action: GONE; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm done
            > wake
              Nothing v7 stuck at commit/action: GONE; wake at 300.000s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm done
        "#]],
    );
}

#[test]
fn two_retriable_steps_in_trouble_leave_the_saga_stuck_until_both_are_out() {
    check(
        r#"
            start
            until commit
            wakes 41
            reply commit action refused GONE
            reply confirm action done
            wake
            wake
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > until commit
              Applied v5 running; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > wakes 41
              Applied v45 stuck at confirm/action: unanswered; wake at 1035.480s
              create done, reserve done, authorise done, capture done, commit open#21, confirm open#21
              send commit/action #21 {}
            > reply commit action refused GONE
              Applied v46 stuck at confirm/action: unanswered; wake at 1035.480s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm open#21
            > reply confirm action done
              Applied, ALERT v47 stuck at commit/action: GONE; wake at 1035.480s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm done
            > wake
              Nothing v47 stuck at commit/action: GONE; wake at 1300.319s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm done
            > wake
              Applied, ALERT v48 stuck at commit/action: GONE; wake at 1600.319s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm done
        "#]],
    );
}

#[test]
fn a_refusal_of_the_step_that_is_stuck_unanswered_says_so() {
    check(
        r#"
            start
            until commit
            reply confirm action done
            wakes 21
            reply commit action refused GONE
            wake
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > until commit
              Applied v5 running; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > reply confirm action done
              Applied v6 running; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit open#1, confirm done
            > wakes 21
              Applied, ALERT v26 stuck at commit/action: unanswered; wake at 1068.401s
              create done, reserve done, authorise done, capture done, commit open#21, confirm done
              send commit/action #21 {}
            > reply commit action refused GONE
              Applied v27 stuck at commit/action: GONE; wake at 1068.401s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm done
            > wake
              Nothing v27 stuck at commit/action: GONE; wake at 1300.319s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm done
        "#]],
    );
}
