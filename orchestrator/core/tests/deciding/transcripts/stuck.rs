//! Sagas that are stuck until a person helps, and the ways out.

use expect_test::expect;
use saga_core::{Admitted, Input, Saga as _, SagaId, Timestamp, limits, start, turn};

use crate::{script::check, shop::Order};

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

/// What a fast clock has written is due at once by a clock that is right: a command, a reminder.
#[test]
fn nobody_waits_until_a_clock_that_was_fast_would_have_been_right() {
    check(
        r#"
            start
            until capture
            clock +3600s
            wake +0s
            clock -3600s
            wake +1s
            wake +1s
            wakes 18
            wake +3600s
            clock -3600s
            wake +1s
            wake +1s
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
            > clock +3600s
            > wake +0s
              Applied v5 running; wake at 3606.904s
              create done, reserve done, authorise done, capture open#2
              send capture/action #2 {}
            > clock -3600s
            > wake +1s
              Applied v6 running; wake at 13.070s
              create done, reserve done, authorise done, capture open#3
              send capture/action #3 {}
            > wake +1s
              Nothing
            > wakes 18
              Applied, ALERT v24 stuck at capture/action: unanswered; wake at 1068.122s
              create done, reserve done, authorise done, capture open#21
              send capture/action #21 {}
            > wake +3600s
              Applied, ALERT v25 stuck at capture/action: unanswered; wake at 4671.725s
              create done, reserve done, authorise done, capture open#22
              send capture/action #22 {}
            > clock -3600s
            > wake +1s
              Applied, ALERT v26 stuck at capture/action: unanswered; wake at 1067.562s
              create done, reserve done, authorise done, capture open#23
              send capture/action #23 {}
            > wake +1s
              Nothing
        "#]],
    );
}

/// However long a saga has to wait, it is looked at now and then. So a `wake_at` that is further ahead
/// tells of a clock that was fast.
#[test]
fn no_saga_sleeps_for_longer_than_the_longest_sleep() {
    const WEEK_MILLIS: u64 = 7 * 86_400_000;
    let patient = Order::steps().with_step_timeout(WEEK_MILLIS);
    let order = Order { sku: "teapot".into(), total: 0 };
    let admitted =
        Admitted { caller: "ann".into(), deadline_millis: WEEK_MILLIS, traceparent: None };
    let id = SagaId(uuid::Uuid::from_u128(7));
    let mut now = Timestamp(0);
    let mut saga = start(&patient, id, &order, admitted, now).saga.expect("it has begun");
    for _ in 0..3 {
        let next = now.plus_millis(limits::LONGEST_SLEEP_MILLIS);
        assert_eq!(saga.wake_at, Some(next));
        now = next;
        let looked = turn(&patient, &saga, &Input::Wake, now).expect("sound");
        assert!(looked.send.is_empty() && looked.history.is_none(), "nothing is due: {looked:?}");
        saga = looked.saga.expect("its next look");
        assert_eq!(saga.version, 1);
    }
}
