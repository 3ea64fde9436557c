//! The builder of definitions: compensatable steps, then at most one pivot, then retriable steps
//! (semantics 16). A wrong order does not compile.

use std::{marker::PhantomData, sync::Arc};

use serde_json::value::RawValue;

use crate::{
    Cause, Command, Definition, Kind, Payload, RetryPolicy, Saga, TypeName,
    definition::{StepSpec, Undo},
};

/// Marker: the definition has no pivot yet.
#[derive(Debug)]
pub struct BeforePivot;
/// Marker: the definition has a pivot.
#[derive(Debug)]
pub struct AfterPivot;
/// Marker: a step without a compensation.
#[derive(Debug)]
pub struct Final;
/// Marker: a step with a compensation.
#[derive(Debug)]
pub struct Compensated;
/// Marker: a step whose reply changes nothing in the saga's data.
#[derive(Debug)]
pub struct Silent;
/// Marker: a step whose reply is kept in the saga's data.
#[derive(Debug)]
pub struct Listening;

/// The markers of a step. They exist only in its type: no value of them is stored.
type Marks<C, U, R> = fn() -> (C, U, R);

/// One step that is being defined. See [`step`].
pub struct Step<S, C, U, R> {
    spec: StepSpec<S>,
    marks: PhantomData<Marks<C, U, R>>,
}

/// Makes a step whose command is built from the saga's data by `action`.
pub fn step<S: Saga, C: Command>(
    name: &'static str,
    action: impl Fn(&S) -> C + Send + Sync + 'static,
) -> Step<S, C, Final, Silent> {
    Step {
        spec: StepSpec {
            name,
            kind: Kind::Retriable,
            participant: C::PARTICIPANT,
            reply_type: <C::Reply as TypeName>::TYPE,
            action: Arc::new(move |saga| Payload::of(&action(saga))),
            on_reply: Arc::new(|_, _| Ok(())),
            keeps_reply: false,
            undo: None,
            policy: None,
            versions: 1..=u32::MAX,
        },
        marks: PhantomData,
    }
}

impl<S: Saga, C: Command, R> Step<S, C, Final, R> {
    /// Adds the command that undoes the step. It is built from the saga's data and from the cause
    /// for which the saga is undone.
    #[must_use]
    pub fn compensate<D: Command>(
        mut self,
        compensation: impl Fn(&S, &Cause) -> D + Send + Sync + 'static,
    ) -> Step<S, C, Compensated, R> {
        self.spec.undo = Some(Undo {
            participant: D::PARTICIPANT,
            reply_type: <D::Reply as TypeName>::TYPE,
            command: Arc::new(move |saga, cause| Payload::of(&compensation(saga, cause))),
        });
        Step { spec: self.spec, marks: PhantomData }
    }
}

impl<S: Saga, C: Command, U> Step<S, C, U, Silent> {
    /// Copies the parts of the reply that later stages need into the saga's data.
    #[must_use]
    pub fn on_reply(
        mut self,
        keep: impl Fn(&mut S, C::Reply) + Send + Sync + 'static,
    ) -> Step<S, C, U, Listening> {
        self.spec.keeps_reply = true;
        self.spec.on_reply = Arc::new(move |saga, reply: &RawValue| {
            keep(saga, serde_json::from_str(reply.get())?);
            Ok(())
        });
        Step { spec: self.spec, marks: PhantomData }
    }
}

impl<S, C, U, R> Step<S, C, U, R> {
    /// Overrides the retry policy of the action.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.spec.policy = Some(policy);
        self
    }

    /// Adds the step to the definition from this version on. Sagas of older versions do not have
    /// it.
    #[must_use]
    pub fn since(mut self, version: u32) -> Self {
        self.spec.versions = version..=*self.spec.versions.end();
        self
    }

    /// Makes this version the last one that has the step. Two steps may share a name if no version
    /// has both, for example when a command changes.
    #[must_use]
    pub fn until(mut self, version: u32) -> Self {
        self.spec.versions = *self.spec.versions.start()..=version;
        self
    }
}

/// Steps that are sent side by side. See [`together`].
pub struct Together<S, U> {
    steps: Vec<StepSpec<S>>,
    marks: PhantomData<fn() -> U>,
}

/// Puts several steps into one stage, so that their commands are sent at once. None of them may
/// have an `on_reply`, because the replies come in any order.
pub fn together<S, U>(steps: impl Into<Together<S, U>>) -> Together<S, U> {
    steps.into()
}

impl<S, C, U, R> From<Step<S, C, U, R>> for Together<S, U> {
    fn from(step: Step<S, C, U, R>) -> Self {
        Self { steps: vec![step.spec], marks: PhantomData }
    }
}

impl<S, A, B, U> From<(Step<S, A, U, Silent>, Step<S, B, U, Silent>)> for Together<S, U> {
    fn from((a, b): (Step<S, A, U, Silent>, Step<S, B, U, Silent>)) -> Self {
        Self { steps: vec![a.spec, b.spec], marks: PhantomData }
    }
}

impl<S, A, B, C, U> From<(Step<S, A, U, Silent>, Step<S, B, U, Silent>, Step<S, C, U, Silent>)>
    for Together<S, U>
{
    fn from(
        (a, b, c): (Step<S, A, U, Silent>, Step<S, B, U, Silent>, Step<S, C, U, Silent>),
    ) -> Self {
        Self { steps: vec![a.spec, b.spec, c.spec], marks: PhantomData }
    }
}

/// The steps of a saga that is being defined.
pub struct Steps<S, P> {
    stages: Vec<Vec<StepSpec<S>>>,
    marks: PhantomData<fn() -> P>,
}

impl<S: Saga> Steps<S, BeforePivot> {
    /// Starts a definition without steps.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a definition without steps is of no use")]
    pub fn new() -> Self {
        Self { stages: Vec::new(), marks: PhantomData }
    }

    /// Adds a stage that can be undone: one step, or several `together`.
    #[must_use]
    pub fn compensatable(self, stage: impl Into<Together<S, Compensated>>) -> Self {
        self.stage(Kind::Compensatable, stage.into().steps)
    }

    /// Adds the pivot: the step that decides.
    #[must_use]
    pub fn pivot<C: Command, R>(self, step: Step<S, C, Final, R>) -> Steps<S, AfterPivot> {
        let Self { stages, .. } = self.stage(Kind::Pivot, vec![step.spec]);
        Steps { stages, marks: PhantomData }
    }
}

impl<S: Saga> Steps<S, AfterPivot> {
    /// Adds a stage whose commands are sent until they are done: one step, or several `together`.
    #[must_use]
    pub fn retriable(self, stage: impl Into<Together<S, Final>>) -> Self {
        self.stage(Kind::Retriable, stage.into().steps)
    }
}

impl<S: Saga, P> Steps<S, P> {
    fn stage(mut self, kind: Kind, steps: Vec<StepSpec<S>>) -> Self {
        self.stages.push(steps.into_iter().map(|step| StepSpec { kind, ..step }).collect());
        self
    }

    /// Returns the finished definition, in its newest version. See [`Definition::at`].
    ///
    /// # Panics
    /// If any hosted version has no steps or more than [`MAX_STEPS`](crate::limits::MAX_STEPS), two
    /// steps of one name, or retriable steps without a pivot, or if a name is not kebab-case. These
    /// are programming errors, found by the first test.
    #[must_use]
    pub fn build(self) -> Definition<S> {
        let newest = Definition::of(self.stages, S::VERSION);
        (S::OLDEST..S::VERSION).for_each(|older| drop(newest.at(older)));
        newest
    }
}
