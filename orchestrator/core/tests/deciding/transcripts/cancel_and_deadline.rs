//! Cancels and the saga's deadline.

use expect_test::expect;

use crate::script::check;

#[test]
fn a_cancel_before_the_pivot_undoes_including_the_open_step() {
    check(
        r#"
            start
            reply create action done
            cancel
            cancel
            reply reserve action done {"total":5}
            reply reserve compensation done
            reply create compensation done
            cancel
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
            > cancel
              Cancel(Accepted)
            > reply reserve action done {"total":5}
              Late
            > reply reserve compensation done
              Applied v4 compensating because cancelled by ann; wake at 2.550s
              create undoing#1, reserve undone
              send create/compensation #1 {"why":"cancelled by ann"}
            > reply create compensation done
              Applied v5 compensated because cancelled by ann; no wake
              create undone, reserve undone
            > cancel
              Cancel(Accepted)
        "#]],
    );
}

#[test]
fn a_cancel_during_the_pivot_waits_for_its_answer_captured() {
    check(
        r#"
            start
            until capture
            cancel
            cancel
            reply capture action done
            cancel
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
            > cancel
              Cancel(Recorded) v5 running; wake at 2.860s
              create done, reserve done, authorise done, capture open#1
            > cancel
              Cancel(Recorded)
            > reply capture action done
              Applied v6 running; wake at 2.860s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > cancel
              Cancel(TooLate)
        "#]],
    );
}

#[test]
fn a_cancel_during_the_pivot_waits_for_its_answer_refused() {
    check(
        r#"
            start
            until capture
            cancel
            reply capture action refused EXPIRED
            cancel
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
            > cancel
              Cancel(Recorded) v5 running; wake at 2.860s
              create done, reserve done, authorise done, capture open#1
            > reply capture action refused EXPIRED
              Applied v6 compensating because cancelled by ann; wake at 2.574s
              create done, reserve done, authorise undoing#1, capture refused(EXPIRED)
              send authorise/compensation #1 {}
            > cancel
              Cancel(Accepted)
        "#]],
    );
}

#[test]
fn a_cancel_after_the_end_is_too_late_or_names_the_end() {
    check(
        r#"
            start
            reply create action refused NO
            cancel
        "#,
        expect![[r#"
            > start
              Applied v1 running; wake at 3.035s
              create open#1
              send create/action #1 {"sku":"teapot"}
            > reply create action refused NO
              Applied v2 compensated because create: NO; no wake
              create refused(NO)
            > cancel
              Cancel(AlreadyUndone)
        "#]],
    );
}

#[test]
fn the_deadline_before_the_pivot_undoes_including_the_open_step() {
    check(
        r#"
            start
            reply create action done
            wake +61s
            reply reserve action done {"total":5}
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
            > wake +61s
              Applied v3 compensating because deadline; wake at 63.969s
              create done, reserve undoing#1
              send reserve/compensation #1 {}
            > reply reserve action done {"total":5}
              Late
            > reply reserve compensation done
              Applied v4 compensating because deadline; wake at 63.550s
              create undoing#1, reserve undone
              send create/compensation #1 {"why":"deadline"}
            > reply create compensation done
              Applied v5 compensated because deadline; no wake
              create undone, reserve undone
        "#]],
    );
}

#[test]
fn the_deadline_is_bounded_by_the_turn_that_would_open_the_pivot() {
    check(
        r#"
            start
            reply create action done
            reply reserve action done {"total":5}
            op pause
            wake +61s
            reply authorise action done
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
            > reply reserve action done {"total":5}
              Applied v3 running; wake at 3.035s
              create done, reserve done, authorise open#1
              send authorise/action #1 {"amount":5}
            > op pause
              Intervention(Applied) v4 running; no wake
              create done, reserve done, authorise open#1
            > wake +61s
              Nothing
            > reply authorise action done
              Applied v5 running; no wake
              create done, reserve done, authorise done
            > op resume
              Intervention(Applied) v6 compensating because deadline; wake at 63.574s
              create done, reserve done, authorise undoing#1
              send authorise/compensation #1 {}
        "#]],
    );
}

#[test]
fn the_deadline_is_ignored_once_the_pivot_is_open() {
    check(
        r#"
            start
            until capture
            wake +61s
            reply capture action done
            wake +61s
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
            > wake +61s
              Applied v5 running; wake at 67.904s
              create done, reserve done, authorise done, capture open#2
              send capture/action #2 {}
            > reply capture action done
              Applied v6 running; wake at 64.156s
              create done, reserve done, authorise done, capture done, commit open#1, confirm open#1
              send commit/action #1 {}
              send confirm/action #1 {"total":5}
            > wake +61s
              Applied v7 running; wake at 127.499s
              create done, reserve done, authorise done, capture done, commit open#2, confirm open#2
              send commit/action #2 {}
              send confirm/action #2 {"total":5}
        "#]],
    );
}
