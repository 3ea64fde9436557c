//! The operator's filters: age, step, reason, paused, and what needs a person.

use saga_core::{
    Cause, Definition, Direction, Hosted, Instance, Opener, Phase, Refusal, Saga, SagaId, Sending,
    Signed, State, StepState, Steps, Stuck, StuckReason, Timestamp, Wish, step,
};
use saga_engine::{ListFilter, Need, Place};
use saga_proto::inventory::v1::CommitStock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Beneath, DEFINITION, FUTURE, PAST, Sagas, Store, saga};

/// The definition of these sagas, so that what does not decode as it is found.
#[derive(Clone, Serialize, Deserialize)]
struct Hosts {
    lines: Vec<String>,
}

impl Saga for Hosts {
    const NAME: &'static str = DEFINITION;
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new()
            .pivot(step("s0", |_: &Self| CommitStock {}))
            .retriable(step("s1", |_: &Self| CommitStock {}))
            .build()
    }
}

fn hosted() -> Hosted {
    Hosted::default().with(Hosts::steps())
}

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let now = sagas.store.turn(&[], |now, _| (vec![], now)).await.expect("a turn");
    let all = every_kind(now);
    let needs = all.iter().map(|saga| Need::of(&hosted(), saga).map(|need| need.name()));
    let found: std::collections::BTreeSet<_> = needs.flatten().collect();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["paused", "stuck", "undecidable", "unhosted"]
    );
    sagas.admit(&all).await;
    let filters = [
        ListFilter { needs_me: Some(hosted()), ..all_of() },
        ListFilter { paused: Some(true), ..all_of() },
        ListFilter { paused: Some(false), ..all_of() },
        ListFilter { unfinished: true, ..all_of() },
        ListFilter { reason: Some("NO_HOLD".to_owned()), ..all_of() },
        ListFilter { reason: Some("UNANSWERED".to_owned()), ..all_of() },
        ListFilter { reason: Some("DEADLINE".to_owned()), ..all_of() },
        ListFilter { reason: Some("CANCELLED".to_owned()), ..all_of() },
        ListFilter {
            reason: Some("OPERATOR".to_owned()),
            state: Some(State::Compensated),
            ..all_of()
        },
        ListFilter { step: Some(place(0)), ..all_of() },
        ListFilter { step: Some(place(1)), needs_me: Some(hosted()), ..all_of() },
        ListFilter { older_than_millis: Some(3_600_000), ..all_of() },
        ListFilter { older_than_millis: Some(3_600_000), state: Some(State::Stuck), ..all_of() },
    ];
    for filter in filters {
        let hour_ago = now.0 - 3_600_000_000;
        let old =
            |saga: &Instance| filter.older_than_millis.is_none() || saga.started_at.0 < hour_ago;
        let mut expected: Vec<SagaId> =
            all.iter().filter(|s| filter.picks(s) && old(s)).map(|s| s.id).collect();
        expected.sort_by_key(|id| std::cmp::Reverse(*id));
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "it proves nothing: {filter:?}"
        );
        for limit in [1, 1_000] {
            let mut filter = ListFilter { limit, ..filter.clone() };
            let mut listed = Vec::new();
            loop {
                let page = sagas.store.list(&filter).await.expect("a page");
                listed.extend(page.iter().map(|saga| saga.id));
                if page.len() < limit {
                    break;
                }
                filter.before = listed.last().copied();
            }
            assert_eq!(listed, expected, "{filter:?}");
        }
    }
}

fn all_of() -> ListFilter {
    ListFilter::default()
}

fn place(index: usize) -> Place {
    let Instance { definition, definition_version, .. } = saga();
    Place { places: vec![(definition, definition_version, index), ("another".to_owned(), 7, 9)] }
}

fn every_kind(now: Timestamp) -> Vec<Instance> {
    let sending = || Sending { attempts: 1, due_at: FUTURE, opened_by: Opener::Own };
    let signed = || Signed { by: "op".to_owned(), reason: "UNANSWERED".to_owned() };
    let refusal = || Refusal::new("NO_HOLD", "DEADLINE");
    let stuck = |unwinding, reason| {
        Phase::Stuck(Stuck {
            unwinding,
            step: "s1".to_owned(),
            direction: Direction::Compensation,
            reason,
            since: PAST,
            remind_at: FUTURE,
            alerts: 2,
        })
    };
    let refused = || Cause::Refused { step: "s1".to_owned(), refusal: refusal() };
    let wish = || Wish { by: "ann".to_owned(), reason: "OPERATOR".to_owned() };
    let open = vec![StepState::Open(sending()), StepState::Pending];
    let halted = StepState::Halted { direction: Direction::Compensation, refusal: refusal() };
    let waiting = |phase| Instance { phase, wake_at: Some(FUTURE), ..saga() };
    let ended = |phase| Instance { phase, wake_at: None, ..saga() };
    let paused = |saga: Instance| Instance { wake_at: None, paused: Some(signed()), ..saga };
    let none = RawValue::from_string("{}".to_owned()).expect("JSON");
    let mut all = vec![
        Instance { steps: open.clone(), ..waiting(Phase::Running) },
        paused(Instance { steps: open.clone(), ..waiting(Phase::Running) }),
        Instance {
            steps: vec![StepState::Done, halted.clone()],
            ..waiting(stuck(Some(refused()), StuckReason::Unanswered))
        },
        waiting(stuck(None, StuckReason::Refused(refusal()))),
        paused(waiting(stuck(None, StuckReason::Unanswered))),
        waiting(Phase::Compensating(refused())),
        waiting(Phase::Compensating(Cause::Unanswered { step: "s0".to_owned() })),
        waiting(Phase::Compensating(Cause::Deadline)),
        ended(Phase::Compensated(Cause::Cancelled(wish()))),
        ended(Phase::Compensated(Cause::Operator(signed()))),
        ended(Phase::Completed),
        // Nobody hosts it, and its neighbour's data and steps are not its definition's.
        Instance { definition_version: 7, ..waiting(Phase::Running) },
        Instance { definition_version: 7, ..ended(Phase::Completed) },
        Instance { data: none, ..waiting(Phase::Running) },
        Instance { steps: vec![StepState::Pending; 3], ..waiting(Phase::Running) },
        // A pause may outlast its saga.
        Instance { paused: Some(signed()), steps: open, ..ended(Phase::Completed) },
    ];
    for (index, saga) in all.iter_mut().enumerate() {
        let hours = if index % 2 == 0 { 5 } else { 0 };
        saga.started_at = Timestamp(now.0 - hours * 3_600_000_000);
    }
    all
}

super::over_each_adapter!();
