//! Invariants that every saga keeps at every turn.

use std::collections::BTreeSet;

use saga_core::{
    Decision, Definition, Direction, HostedDefinition as _, Input, Instance, Intervened, Kind,
    Phase, Remedy, StepState, Timestamp, Verdict,
};

use crate::shapes::{Memory, Shape, index};

/// The inputs and the result of one turn.
pub(crate) struct Seen<'a> {
    pub(crate) before: &'a Instance,
    pub(crate) input: &'a Input,
    pub(crate) decision: &'a Decision,
    pub(crate) now: Timestamp,
}

/// Checks the invariants of a row.
pub(crate) fn row(shape: &Shape, definition: &Definition<Memory>, saga: &Instance) {
    it_wakes_in_time(shape, saga);
    an_end_has_settled_steps(saga);
    it_survives_serde(definition, saga);
    let pivot = shape.pivot().map(|pivot| &saga.steps[pivot]);
    if matches!(pivot, Some(StepState::Done)) {
        assert!(saga.phase.cause().is_none(), "undone after the pivot: {saga:?}");
    }
    for (step, state) in saga.steps.iter().enumerate() {
        let undo = match state {
            StepState::Unknown | StepState::Undoing(_) | StepState::Undone => true,
            StepState::Halted { direction, .. } => *direction == Direction::Compensation,
            StepState::Pending | StepState::Open(_) | StepState::Done | StepState::Refused(_) => {
                false
            }
        };
        assert!(!undo || shape.kind(step) == Kind::Compensatable, "{step} cannot be undone");
        if let StepState::Open(sending) = state
            && shape.kind(step) == Kind::Compensatable
        {
            assert!(sending.attempts <= shape.attempts, "asked beyond its bound: {saga:?}");
        }
        if matches!(state, StepState::Halted { .. }) {
            assert!(matches!(saga.phase, Phase::Stuck(_)), "halted, but not stuck: {saga:?}");
        }
    }
}

/// Checks the invariants of a transition.
pub(crate) fn turn(
    shape: &Shape,
    definition: &Definition<Memory>,
    seen: &Seen<'_>,
    after: &Instance,
) {
    let Seen { before, input, decision, now } = *seen;
    the_version_counts_the_history(before, decision, now);
    let retried = matches!(input, Input::Intervene(i) if i.remedy == Remedy::Retry);
    what_is_sent_is_what_the_row_says(definition, before, decision, after, retried);
    an_intervention_is_told_truthfully(before, input, decision);
    if before.phase.ended().is_some() {
        assert!(decision.history.is_none(), "changed after its end: {decision:?}");
        assert!(decision.send.is_empty(), "sent after its end");
        assert_eq!(before.phase, after.phase);
    }
    let resumed = matches!(input, Input::Intervene(i) if i.remedy == Remedy::Resume);
    if before.paused.is_some() && !resumed {
        assert!(decision.send.is_empty(), "sent while paused: {decision:?}");
    }
    let newly_stuck = matches!((&before.phase, &after.phase), (Phase::Stuck(b), Phase::Stuck(a))
        if (&b.step, b.direction) != (&a.step, a.direction))
        || matches!((&before.phase, &after.phase), (b, Phase::Stuck(_))
            if !matches!(b, Phase::Stuck(_)));
    assert!(!newly_stuck || decision.alert, "stuck without an alert: {decision:?}");
    for command in &decision.send {
        let step = index(&command.id.step);
        if command.id.direction == Direction::Compensation {
            a_compensation_may_go_out(shape, before, after, step);
        } else if !matches!(before.steps[step], StepState::Open(_)) {
            an_action_may_begin(shape, after, step);
        }
    }
}

/// Checks `wake_at ≤ need`, with the need computed from the row alone (protocol 5).
fn it_wakes_in_time(shape: &Shape, saga: &Instance) {
    if saga.phase.ended().is_some() || saga.paused.is_some() {
        return;
    }
    let mut needs = Vec::new();
    for state in &saga.steps {
        if let StepState::Open(sending) | StepState::Undoing(sending) = state {
            needs.push(sending.due_at);
        }
    }
    let pivot_is_open = shape.pivot().is_some_and(|p| saga.steps[p] != StepState::Pending);
    if saga.phase == Phase::Running && !pivot_is_open {
        needs.push(saga.deadline);
    }
    if let Phase::Stuck(stuck) = &saga.phase {
        needs.push(stuck.remind_at);
    }
    let need = needs.into_iter().min();
    assert!(need.is_some(), "nothing will ever wake it: {saga:?}");
    assert!(saga.wake_at.is_some() && saga.wake_at <= need, "sleeps past {need:?}: {saga:?}");
}

fn an_intervention_is_told_truthfully(before: &Instance, input: &Input, decision: &Decision) {
    let Input::Intervene(asked) = input else { return };
    let Verdict::Intervention(verdict) = decision.verdict else { panic!("{decision:?}") };
    match verdict {
        Intervened::Applied => {
            assert_eq!(asked.expected_version, before.version, "another version was seen");
            let saga = decision.saga.as_ref().expect("written");
            assert_eq!(saga.intervention.as_ref(), Some(asked), "not remembered");
        }
        Intervened::Repeated => assert_eq!(before.intervention.as_ref(), Some(asked)),
        Intervened::Moved { version } => {
            assert_eq!(version, before.version);
            assert_ne!(version, asked.expected_version);
        }
        Intervened::Impossible(why) => assert!(why.to_string().len() > 20, "a sentence: {why}"),
    }
    if verdict != Intervened::Applied {
        assert!(decision.saga.is_none() && decision.history.is_none() && decision.send.is_empty());
    }
}

fn an_end_has_settled_steps(saga: &Instance) {
    for state in &saga.steps {
        let fits = match (&saga.phase, state) {
            (Phase::Completed, StepState::Done) => true,
            (Phase::Completed, _) => false,
            (
                Phase::Compensated(_),
                StepState::Pending | StepState::Refused(_) | StepState::Undone,
            ) => true,
            (Phase::Compensated(_), _) => false,
            (Phase::Running | Phase::Compensating(_) | Phase::Stuck(_), _) => true,
        };
        assert!(fits, "ended with a step unsettled: {saga:?}");
    }
}

fn it_survives_serde(definition: &Definition<Memory>, saga: &Instance) {
    let phase = serde_json::to_string(&saga.phase).expect("JSON");
    let steps = serde_json::to_string(&saga.steps).expect("JSON");
    let read = Instance {
        phase: serde_json::from_str(&phase).expect("reads what it wrote"),
        steps: serde_json::from_str(&steps).expect("reads what it wrote"),
        ..saga.clone()
    };
    assert_eq!((&read.phase, &read.steps), (&saga.phase, &saga.steps));
    let open = definition.open_commands(saga).expect("sound");
    assert_eq!(definition.open_commands(&read).expect("sound"), open);
}

fn the_version_counts_the_history(before: &Instance, decision: &Decision, now: Timestamp) {
    match (&decision.saga, &decision.history) {
        (Some(saga), Some(entry)) => {
            assert_eq!(saga.version, before.version + 1);
            assert_eq!((entry.version, entry.at), (saga.version, now));
            assert_eq!(entry.state, saga.phase.state());
            assert_eq!(entry.sent.len(), decision.send.len());
        }
        (Some(saga), None) => {
            assert_eq!((saga.version, &saga.phase), (before.version, &before.phase));
            assert_eq!((saga.data.get(), &saga.steps), (before.data.get(), &before.steps));
            assert_ne!(saga.wake_at, before.wake_at, "written for nothing");
            assert!(decision.send.is_empty());
        }
        (None, Some(_)) => panic!("history without a row: {decision:?}"),
        (None, None) => {}
    }
    let applied =
        matches!(decision.verdict, Verdict::Applied | Verdict::Intervention(Intervened::Applied));
    assert!(!applied || decision.history.is_some());
}

/// The row is the outbox: a transition sends exactly the commands that it opened or repeated, and
/// the row derives each of them.
fn what_is_sent_is_what_the_row_says(
    definition: &Definition<Memory>,
    before: &Instance,
    decision: &Decision,
    after: &Instance,
    retried: bool,
) {
    let open = definition.open_commands(after).expect("sound");
    for command in &decision.send {
        assert!(open.contains(command), "the row does not say so: {command:?}");
    }
    if decision.history.is_none() {
        return;
    }
    let was = definition.open_commands(before).expect("sound");
    let key = |c: &saga_core::OutgoingCommand| (c.id.clone(), c.attempt);
    let was: BTreeSet<_> = was.iter().map(key).collect();
    // A retry counts attempts from the beginning, so the same attempt may have been sent before.
    let news = |key: &_| retried || !was.contains(key);
    let new: BTreeSet<_> = open.iter().map(key).filter(news).collect();
    let sent: BTreeSet<_> = decision.send.iter().map(key).collect();
    assert_eq!(sent, new, "sent is not what was opened");
}

/// Compensations come in reverse order of the stages, after all open steps are settled, and only
/// for steps that may have an effect (semantics 9, 15).
fn a_compensation_may_go_out(shape: &Shape, before: &Instance, after: &Instance, step: usize) {
    assert!(matches!(
        before.steps[step],
        StepState::Done
            | StepState::Unknown
            | StepState::Undoing(_)
            | StepState::Open(_)
            | StepState::Halted { direction: Direction::Compensation, .. }
    ));
    for (other, state) in after.steps.iter().enumerate() {
        let later = shape.stage_of(other) > shape.stage_of(step);
        let settled = match state {
            StepState::Open(_) => false,
            StepState::Pending | StepState::Refused(_) | StepState::Undone => true,
            StepState::Done
            | StepState::Unknown
            | StepState::Undoing(_)
            | StepState::Halted { .. } => !later,
        };
        assert!(settled, "{step} is undone before {other}: {after:?}");
    }
}

fn an_action_may_begin(shape: &Shape, after: &Instance, step: usize) {
    for (other, state) in after.steps.iter().enumerate() {
        if shape.stage_of(other) < shape.stage_of(step) {
            assert_eq!(*state, StepState::Done, "{step} begins before {other} is done");
        }
    }
    assert_eq!(after.phase, Phase::Running);
}
