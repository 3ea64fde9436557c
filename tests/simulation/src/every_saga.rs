//! Three tests for any saga. A new definition is tested by three calls, because the tests read the
//! steps from the definition and name none.
//!
//! They inject one fault at a time; the seeds combine many.

use std::{collections::BTreeSet, time::Duration};

use saga_core::{
    Cause, CommandId, Definition, Direction, Hosted, HostedDefinition as _, Instance, Phase,
    Remedy, Saga, SagaId, State, StuckReason,
};

use crate::{
    books::{Books, Difference},
    clients::intervene,
    meddler::Rule,
    shop::{LONG_DEADLINE_MILLIS, STEP_TIMEOUT_MILLIS, Shop},
};

/// A deadline shorter than all attempts of one step together, but longer than the steps before it
/// take.
const SHORT_DEADLINE_MILLIS: u64 = 2_500;

/// A saga to test, and the data to begin it with.
pub trait Subject {
    /// The saga.
    type Saga: Saga;

    /// Returns the definition to run: the saga's own, unless a test needs another one.
    #[must_use]
    fn steps(&self) -> Definition<Self::Saga> {
        Self::Saga::steps()
    }

    /// Makes all preparations for a saga that completes if nothing goes wrong, and returns its
    /// data.
    fn begin(&self, shop: &Shop) -> impl Future<Output = Self::Saga>;
}

/// One step of a definition.
struct Step {
    name: &'static str,
    /// Whether a refusal undoes the saga: true up to and including the pivot.
    may_refuse: bool,
    /// Whether the saga may give up on the step without an answer: true before the pivot.
    may_be_given_up: bool,
}

fn steps<S: Subject>(subject: &S) -> Vec<Step> {
    let definition = subject.steps();
    let (names, pivot) = (definition.step_names(), definition.pivot());
    let step = |(place, name)| Step {
        name,
        may_refuse: pivot.is_none_or(|pivot| place <= pivot),
        may_be_given_up: pivot.is_none_or(|pivot| place < pivot),
    };
    names.into_iter().enumerate().map(step).collect()
}

/// One saga of a subject.
struct Trial<'a> {
    shop: &'a Shop,
    id: SagaId,
    before: Books,
}

/// Begins one saga under a rule, in a fresh shop.
fn trial<S: Subject, R>(
    subject: &S,
    deadline_millis: u64,
    rule: impl Fn(SagaId) -> Rule,
    test: impl AsyncFn(&Trial<'_>) -> R,
) -> R {
    let definition = || subject.steps().with_step_timeout(STEP_TIMEOUT_MILLIS);
    let shops = saga_definitions::hosted(Some(STEP_TIMEOUT_MILLIS));
    let hosted = Hosted::default().with(definition()).with_others(&shops);
    Shop::with(hosted, async |shop| {
        let data = subject.begin(shop).await;
        let before = shop.books().await;
        let id = SagaId(shop.world.sim.uuid());
        shop.world.broker.meddler.set(rule(id));
        shop.begin(id, data, deadline_millis).await;
        test(&Trial { shop, id, before }).await
    })
}

/// Returns the rows that a saga leaves without faults, where everything happens once.
fn undisturbed<S: Subject>(subject: &S) -> Books {
    trial(
        subject,
        LONG_DEADLINE_MILLIS,
        |_| Rule::Pass,
        async |trial| {
            trial.ends(State::Completed).await;
            let books = trial.shop.settle().await;
            let differ = books.standing != trial.before.standing;
            trial.shop.hold(differ, || "a saga that does nothing shows nothing".to_owned());
            books
        },
    )
}

impl Trial<'_> {
    async fn ends(&self, state: State) -> Instance {
        let saga = self.shop.until(self.id, state.name(), |saga| saga.ended().is_some()).await;
        let so = saga.phase.state() == state;
        self.shop.hold(so, || format!("it is to be {}, and is {saga:?}", state.name()));
        saga
    }

    /// Checks that the saga is compensated for the given reason, and that no effect remains.
    async fn leaves_nothing(&self, why: impl Fn(&Cause) -> bool) {
        let saga = self.ends(State::Compensated).await;
        let so = saga.phase.cause().is_some_and(why);
        self.shop.hold(so, || format!("not for that reason: {:?}", saga.phase));
        let books = self.shop.settle().await;
        let (due, found) = (&self.before.standing, &books.standing);
        self.shop.hold(due == found, || format!("something is left: {}", Difference(due, found)));
    }

    /// Checks that the saga completes, and that each effect has happened once.
    async fn is_complete(&self, whole: &Books) {
        self.ends(State::Completed).await;
        let books = self.shop.settle().await;
        let (due, found) = (&whole.all, &books.all);
        self.shop
            .hold(due == found, || format!("not all, or not once: {}", Difference(due, found)));
    }

    async fn gets_stuck(&self, step: &str, why: impl Fn(&StuckReason) -> bool) {
        let is_stuck = |saga: &Instance| matches!(saga.phase, Phase::Stuck(_));
        let saga = self.shop.until(self.id, "stuck", is_stuck).await;
        let so = matches!(&saga.phase, Phase::Stuck(stuck)
            if stuck.step == step && stuck.direction == Direction::Action && why(&stuck.reason));
        self.shop.hold(so, || format!("{step} is to hold it up: {:?}", saga.phase));
    }

    /// Checks that the event of a stuck saga is published, and a reminder after a while.
    async fn is_told_and_reminded_of(&self) {
        let reminder = Duration::from_millis(saga_core::limits::STUCK_REMINDER_MILLIS);
        for due in 1..=2 {
            // The wake-up comes within the interval of the claims, and the event after it.
            let settle = Duration::from_secs(5);
            tokio::time::sleep(if due == 1 { settle } else { reminder + settle }).await;
            let (found, unheard) = self.shop.world.checks.alerts();
            let so = (found, unheard) == (due, 0);
            self.shop.hold(so, || format!("{found} alerts instead of {due}, {unheard} unheard"));
        }
    }

    /// Delivers the withheld messages after the end, and checks that they change nothing.
    async fn late_messages_change_nothing(&self, at_least: usize) {
        let before = self.shop.books().await;
        let kept = self.shop.world.broker.deliver_kept();
        self.shop.hold(kept >= at_least, || format!("only {kept} messages were kept"));
        let books = self.shop.settle().await;
        let (due, found) = (&before.all, &books.all);
        self.shop
            .hold(due == found, || format!("late messages did it: {}", Difference(due, found)));
    }
}

fn action(saga: SagaId, step: &Step) -> CommandId {
    CommandId { saga, step: step.name.to_owned(), direction: Direction::Action }
}

/// Lets every step refuse in turn. Up to the pivot, no effect of the saga remains. After the pivot,
/// the saga is stuck and gives the reason, and an operator's retry completes it.
///
/// # Panics
/// If any of this does not hold.
pub fn every_refusal_leaves_nothing<S: Subject>(subject: &S) {
    let whole = undisturbed(subject);
    for step in steps(subject) {
        let rule = |saga| Rule::Refuse(action(saga, &step));
        trial(subject, LONG_DEADLINE_MILLIS, rule, async |trial| {
            if step.may_refuse {
                let why = |cause: &Cause| matches!(cause, Cause::Refused { step: refused, .. } if refused == step.name);
                trial.leaves_nothing(why).await;
            } else {
                let why = |reason: &StuckReason| matches!(reason, StuckReason::Refused(_));
                trial.gets_stuck(step.name, why).await;
                trial.is_told_and_reminded_of().await;
                intervene(&trial.shop.world, trial.id, &Remedy::Retry).await;
                trial.is_complete(&whole).await;
            }
        });
    }
}

/// Delivers every command and every reply twice, and once more after the end. The rows must be the
/// same as if each had arrived once.
///
/// # Panics
/// If the rows differ.
pub fn repetition_changes_nothing<S: Subject>(subject: &S) {
    let whole = undisturbed(subject);
    trial(subject, LONG_DEADLINE_MILLIS, Rule::Repeat, async |trial| {
        trial.is_complete(&whole).await;
        trial.shop.world.broker.meddler.set(Rule::Pass);
        // Replies may share a parcel, and so may commands to one participant.
        let participants: BTreeSet<&str> = {
            let definition = subject.steps();
            let of = |step| definition.participant(step, Direction::Action);
            (0..definition.step_names().len()).map(of).collect()
        };
        trial.late_messages_change_nothing(2 * participants.len()).await;
    });
    // The same test for a saga that is undone.
    for step in steps(subject).iter().filter(|step| step.may_refuse) {
        let rule = |saga| Rule::RefuseAndRepeat(action(saga, step));
        trial(subject, LONG_DEADLINE_MILLIS, rule, async |trial| {
            trial.leaves_nothing(|cause| matches!(cause, Cause::Refused { .. })).await;
            trial.shop.world.broker.meddler.set(Rule::Pass);
            trial.late_messages_change_nothing(1).await;
        });
    }
}

/// Makes the outcome of every step in turn unknown, until the attempts or the deadline run out: its
/// command never arrives, or its reply never does. Before the pivot, no effect of the saga remains.
/// From the pivot on, the saga is stuck until an answer can arrive, and then completes. The
/// withheld messages arrive after the end.
///
/// # Panics
/// If any of this does not hold.
pub fn no_unknown_outcome_leaves_anything<S: Subject>(subject: &S) {
    let whole = undisturbed(subject);
    let withheld: [fn(CommandId) -> Rule; 2] = [Rule::WithholdCommand, Rule::WithholdReply];
    for (step, withhold, deadline_millis) in steps(subject).iter().flat_map(|step| {
        let deadlines = [LONG_DEADLINE_MILLIS, SHORT_DEADLINE_MILLIS];
        deadlines.into_iter().flat_map(move |millis| withheld.map(|rule| (step, rule, millis)))
    }) {
        let rule = |saga| withhold(action(saga, step));
        trial(subject, deadline_millis, rule, async |trial| {
            let heal = || trial.shop.world.broker.meddler.set(Rule::Pass);
            if step.may_be_given_up {
                trial.leaves_nothing(|cause| given_up(cause, step, deadline_millis)).await;
                heal();
            } else {
                let why = |reason: &StuckReason| *reason == StuckReason::Unanswered;
                trial.gets_stuck(step.name, why).await;
                heal();
                trial.is_complete(&whole).await;
            }
            trial.late_messages_change_nothing(1).await;
        });
    }
}

fn given_up(cause: &Cause, step: &Step, deadline_millis: u64) -> bool {
    match cause {
        Cause::Unanswered { step: unanswered } => {
            deadline_millis == LONG_DEADLINE_MILLIS && unanswered == step.name
        }
        Cause::Deadline => deadline_millis == SHORT_DEADLINE_MILLIS,
        Cause::Refused { .. } | Cause::Cancelled(_) | Cause::Operator(_) => false,
    }
}
