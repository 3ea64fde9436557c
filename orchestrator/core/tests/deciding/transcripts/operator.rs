//! Operators' interventions.

use expect_test::expect;

use crate::script::check;

#[test]
fn a_stuck_pivot_cannot_be_skipped_and_goes_on_once_it_is_known_to_be_done() {
    check(
        r#"
            start
            until capture
            wakes 20
            op skip
            op compensate
            op done capture action
            op at 24 done capture action
            reply commit action done
            reply capture action done
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
            > wakes 20
              Applied, ALERT v24 stuck at capture/action: unanswered; wake at 1076.886s
              create done, reserve done, authorise done, capture open#21
              send capture/action #21 {}
            > op skip
              Intervention(Impossible(Pivot))
            > op compensate
              Intervention(Impossible(PivotOpen))
            > op done capture action
              Intervention(Applied) v25 running; wake at 1016.444s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > op at 24 done capture action
              Intervention(Repeated)
            > reply commit action done
              Applied v26 running; wake at 1016.444s
              create done, reserve done, authorise done, capture done, commit done, confirm open#1
            > reply capture action done
              Duplicate
        "#]],
    );
}

#[test]
fn a_stuck_pivot_that_is_known_not_to_have_happened_is_undone() {
    check(
        r#"
            start
            until capture
            wakes 20
            op refused capture action
            op compensate
            reply authorise compensation done
            reply capture action refused CAPTURE_DECLINED
            reply capture action done
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
            > wakes 20
              Applied, ALERT v24 stuck at capture/action: unanswered; wake at 1076.886s
              create done, reserve done, authorise done, capture open#21
              send capture/action #21 {}
            > op refused capture action
              Intervention(Applied) v25 compensating because capture: STATED_BY_OPERATOR; wake at 1015.862s
              create done, reserve done, authorise undoing#1, capture refused(STATED_BY_OPERATOR)
              send authorise/compensation #1 {}
            > op compensate
              Intervention(Impossible(UndoneAlready))
            > reply authorise compensation done
              Applied v26 compensating because capture: STATED_BY_OPERATOR; wake at 1015.862s
              create done, reserve undoing#1, authorise undone, capture refused(STATED_BY_OPERATOR)
              send reserve/compensation #1 {}
            > reply capture action refused CAPTURE_DECLINED
              Duplicate
            > reply capture action done
              Contradicts
        "#]],
    );
}

#[test]
fn a_retry_takes_a_saga_out_of_stuck_and_begins_to_count_anew() {
    check(
        r#"
            start
            until capture
            wakes 20
            op retry
            op at 24 retry
            op at 3 retry
            wake
            reply capture action done
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
            > wakes 20
              Applied, ALERT v24 stuck at capture/action: unanswered; wake at 1076.886s
              create done, reserve done, authorise done, capture open#21
              send capture/action #21 {}
            > op retry
              Intervention(Applied) v25 running; wake at 1016.148s
              create done, reserve done, authorise done, capture open#1
              send capture/action #1 {}
            > op at 24 retry
              Intervention(Repeated)
            > op at 3 retry
              Intervention(Moved { version: 25 })
            > wake
              Applied v26 running; wake at 1023.052s
              create done, reserve done, authorise done, capture open#2
              send capture/action #2 {}
            > reply capture action done
              Applied v27 running; wake at 1019.304s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
        "#]],
    );
}

#[test]
fn a_halted_step_is_asked_again_under_its_id() {
    check(
        r#"
            start
            cancel
            reply create compensation refused BROKEN
            op retry
            reply create compensation done
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
            > op retry
              Intervention(Applied) v4 compensating because cancelled by ann; wake at 2.550s
              create undoing#1
              send create/compensation #1 {"why":"cancelled by ann"}
            > reply create compensation done
              Applied v5 compensated because cancelled by ann; no wake
              create undone
        "#]],
    );
}

#[test]
fn a_halted_compensation_is_skipped_and_the_saga_ends() {
    check(
        r#"
            start
            reply create action done
            cancel
            reply reserve compensation refused BROKEN
            op skip
            op skip
            reply create compensation done
            op retry
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
            > reply reserve compensation refused BROKEN
              Applied, ALERT v4 stuck at reserve/compensation: BROKEN; wake at 2.969s
              create done, reserve halted(compensation, BROKEN)
            > op skip
              Intervention(Applied) v5 compensating because cancelled by ann; wake at 2.550s
              create undoing#1, reserve undone
              send create/compensation #1 {"why":"cancelled by ann"}
            > op skip
              Intervention(Impossible(NotStuck))
            > reply create compensation done
              Applied v6 compensated because cancelled by ann; no wake
              create undone, reserve undone
            > op retry
              Intervention(Impossible(Ended))
        "#]],
    );
}

#[test]
fn two_halted_steps_are_skipped_one_by_one() {
    check(
        r#"
            start
            until commit
            reply commit action refused GONE
            reply confirm action refused GONE
            op skip
            op skip
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
            > reply confirm action refused GONE
              Applied v7 stuck at commit/action: GONE; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit halted(action, GONE), confirm halted(action, GONE)
            > op skip
              Intervention(Applied), ALERT v8 stuck at confirm/action: GONE; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit done, confirm halted(action, GONE)
            > op skip
              Intervention(Applied) v9 completed; no wake
              create done, reserve done, authorise done, capture done, commit done, confirm done
        "#]],
    );
}

#[test]
fn what_later_steps_need_must_come_with_the_word_of_the_operator() {
    check(
        r#"
            start
            until reserve
            op done reserve action
            op done reserve action {"total":
            op done reserve action {"total":9}
            op done authorise action {"total":9}
            op done nowhere action
            op done create action
            op done authorise compensation
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > until reserve
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > op done reserve action
              Intervention(Impossible(ReplyMissing))
            > op done reserve action {"total":
              Intervention(Impossible(ReplyUnreadable))
            > op done reserve action {"total":9}
              Intervention(Applied) v3 running; wake at 3.035s
              create done, reserve done, authorise open#1
              send authorise/action #1 {"amount":9}
            > op done authorise action {"total":9}
              Intervention(Impossible(ReplyUnwanted))
            > op done nowhere action
              Intervention(Impossible(NoSuchStep))
            > op done create action
              Intervention(Impossible(NotOpen))
            > op done authorise compensation
              Intervention(Impossible(NotOpen))
        "#]],
    );
}

#[test]
fn the_word_of_an_operator_spares_no_step_its_compensation() {
    check(
        r#"
            start
            until reserve
            op refused reserve action
            reply reserve action done {"total":5}
            reply reserve compensation done
            op done create compensation
            op compensate
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > until reserve
              Applied v2 running; wake at 3.035s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > op refused reserve action
              Intervention(Applied) v3 compensating because reserve: STATED_BY_OPERATOR; wake at 2.969s
              create done, reserve undoing#1
              send reserve/compensation #1 {}
            > reply reserve action done {"total":5}
              Late
            > reply reserve compensation done
              Applied v4 compensating because reserve: STATED_BY_OPERATOR; wake at 2.550s
              create undoing#1, reserve undone
              send create/compensation #1 {"why":"reserve: STATED_BY_OPERATOR"}
            > op done create compensation
              Intervention(Applied) v5 compensated because reserve: STATED_BY_OPERATOR; no wake
              create undone, reserve undone
            > op compensate
              Intervention(Impossible(Ended))
        "#]],
    );
}

#[test]
fn an_operator_undoes_before_the_pivot_only() {
    check(
        r#"
            start
            until authorise
            op compensate
            op compensate
            op refused authorise compensation
            reply authorise compensation done
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > until authorise
              Applied v3 running; wake at 3.035s
              create done, reserve done, authorise open#1
              send authorise/action #1 {"amount":5}
            > op compensate
              Intervention(Applied) v4 compensating because undone by op; wake at 2.574s
              create done, reserve done, authorise undoing#1
              send authorise/compensation #1 {}
            > op compensate
              Intervention(Impossible(UndoneAlready))
            > op refused authorise compensation
              Intervention(Impossible(NoRefusal))
            > reply authorise compensation done
              Applied v5 compensating because undone by op; wake at 2.574s
              create done, reserve undoing#1, authorise undone
              send reserve/compensation #1 {}
        "#]],
    );
}

#[test]
fn what_is_stated_while_a_saga_is_paused_goes_on_when_it_is_resumed() {
    check(
        r#"
            start
            op pause
            op pause
            op retry
            op done create action
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
            > op retry
              Intervention(Impossible(Paused))
            > op done create action
              Intervention(Applied) v3 running; no wake
              create done
            > op resume
              Intervention(Applied) v4 running; wake at 3.454s
              create done, reserve open#1
              send reserve/action #1 {"sku":"teapot"}
            > op resume
              Intervention(Impossible(NotPaused))
        "#]],
    );
}
