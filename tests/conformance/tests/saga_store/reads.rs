//! Lists for operators, and counts.

use saga_core::{
    Cause, Definition, Direction, Hosted, Instance, Opener, Phase, Refusal, Saga, SagaId, Sending,
    Signed, State, StepState, Steps, Stuck, StuckReason, Timestamp, Wish, step,
};
use saga_engine::{Census, ListFilter, Need, NewQuarantined, Place};
use saga_proto::inventory::v1::CommitStock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Beneath, DEFINITION, PAST, Sagas, Store, future, saga, stuck};

holds_on! { Sagas::{postgres_remembering, postgres, sqlite, in_memory}:
    a_saga_that_a_fast_clock_has_dated_ahead_is_not_young,
    a_list_is_filtered_and_pages_newest_first,
    a_list_finds_what_needs_a_person,
    what_has_not_ended_is_counted,
}

/// Lists filter by state and by definition, and show each saga once, page after page.
async fn a_list_is_filtered_and_pages_newest_first(sagas: Sagas<impl Store, impl Beneath>) {
    let definitions = ["place-order", "return-order", "Place-Order"];
    let phases =
        [Phase::Running, Phase::Completed, Phase::Compensating(Cause::Deadline), Phase::Completed];
    let mut all: Vec<Instance> = (0..24)
        .map(|number| Instance {
            definition: definitions[number % 3].to_owned(),
            phase: phases[number % 4].clone(),
            ..saga()
        })
        .collect();
    sagas.admit(&all).await;
    all.sort_by_key(|saga| std::cmp::Reverse(saga.id));

    let states = [None, Some(State::Running), Some(State::Completed), Some(State::Stuck)];
    for state in states {
        for definition in [None, Some("place-order"), Some("Place-Order"), Some("nobody's")] {
            let expected: Vec<SagaId> = all
                .iter()
                .filter(|saga| state.is_none_or(|state| saga.phase.state() == state))
                .filter(|saga| definition.is_none_or(|name| saga.definition == name))
                .map(|saga| saga.id)
                .collect();
            for limit in [1, 5, 1_000] {
                let filter = ListFilter {
                    state,
                    definition: definition.map(str::to_owned),
                    limit,
                    ..ListFilter::default()
                };
                let listed = pages(&sagas.store, filter).await;
                assert_eq!(listed, expected, "{state:?} {definition:?} by {limit}");
            }
        }
    }
    let none = ListFilter { limit: 0, ..ListFilter::default() };
    assert!(sagas.store.list(&none).await.expect("a list").is_empty());
}

async fn pages(store: &impl Store, mut filter: ListFilter) -> Vec<SagaId> {
    let mut listed = Vec::new();
    loop {
        let page = store.list(&filter).await.expect("a page");
        assert!(page.len() <= filter.limit);
        listed.extend(page.iter().map(|saga| saga.id));
        if page.len() < filter.limit {
            return listed;
        }
        filter.before = listed.last().copied();
    }
}

/// Lists filter by age, step, reason, pause, and whether a saga needs a person.
async fn a_list_finds_what_needs_a_person(sagas: Sagas<impl Store, impl Beneath>) {
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

/// The definition of these sagas, needed to find rows that do not decode under it.
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

fn all_of() -> ListFilter {
    ListFilter::default()
}

fn place(index: usize) -> Place {
    let Instance { definition, definition_version, .. } = saga();
    Place { places: vec![(definition, definition_version, index), ("another".to_owned(), 7, 9)] }
}

fn every_kind(now: Timestamp) -> Vec<Instance> {
    let sending = || Sending { attempts: 1, due_at: future(), opened_by: Opener::Own };
    let signed = || Signed { by: "op".to_owned(), reason: "UNANSWERED".to_owned() };
    let refusal = || Refusal::new("NO_HOLD", "DEADLINE");
    let stuck = |unwinding, reason| {
        Phase::Stuck(Stuck {
            unwinding,
            step: "s1".to_owned(),
            direction: Direction::Compensation,
            reason,
            since: PAST,
            remind_at: future(),
            alerts: 2,
        })
    };
    let refused = || Cause::Refused { step: "s1".to_owned(), refusal: refusal() };
    let wish = || Wish { by: "ann".to_owned(), reason: "OPERATOR".to_owned() };
    let open = vec![StepState::Open(sending()), StepState::Pending];
    let halted = StepState::Halted { direction: Direction::Compensation, refusal: refusal() };
    let waiting = |phase| Instance { phase, wake_at: Some(future()), ..saga() };
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
        // The first two have a version that nobody hosts; the others' data or steps do not
        // fit the definition.
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

/// The number of sagas in flight (without the stuck ones, which wait for a person), and the
/// census of those that have not ended.
async fn what_has_not_ended_is_counted(sagas: Sagas<impl Store, impl Beneath>) {
    // The difference between the database's clock and ours, and the time that a test may take.
    const SLACK_MILLIS: u64 = 600_000;
    assert_eq!(sagas.store.in_flight().await, Ok(0));
    assert_eq!(sagas.store.census().await, Ok(Census::default()));
    let now = sagas.store.turn(&[], |now, _| (vec![], now)).await.expect("a turn");
    let stuck = stuck();
    let began = |hours: i64, phase: Phase| {
        let started_at = Timestamp(now.0 - hours * 3_600_000_000);
        let wake_at = phase.ended().is_none().then_some(future());
        Instance { phase, started_at, wake_at, ..saga() }
    };
    let returned = |saga: Instance| Instance { definition: "return-order".to_owned(), ..saga };
    sagas
        .admit(&[
            began(2, Phase::Running),
            began(5, Phase::Running),
            began(1, Phase::Running),
            returned(began(9, Phase::Running)),
            began(3, Phase::Compensating(Cause::Deadline)),
            began(4, stuck.clone()),
            // A paused saga is not due.
            Instance { wake_at: None, ..began(8, stuck) },
            Instance { wake_at: None, ..began(99, Phase::Running) },
            began(99, Phase::Completed),
            began(99, Phase::Compensated(Cause::Deadline)),
        ])
        .await;
    assert_eq!(sagas.store.in_flight().await, Ok(6));
    let message = |id: &str| NewQuarantined {
        id: id.to_owned(),
        reason: String::new(),
        from: String::new(),
        reply_to: None,
        body: vec![],
    };
    sagas.store.quarantine(&[message("1"), message("2")]).await.expect("kept");

    let census = sagas.store.census().await.expect("a census");
    assert_eq!(census.quarantined, 2);
    let mut found: Vec<_> = census
        .unfinished
        .iter()
        .inspect(|head| assert_eq!(head.definition_version, saga().definition_version))
        .map(|head| {
            let (name, state) = (head.definition.as_str(), head.state.code());
            (name, state, head.count, head.oldest_millis, head.paused)
        })
        .collect();
    found.sort();
    let expected = [
        ("place-order", State::Running, 1, 99, true),
        ("place-order", State::Running, 3, 5, false),
        ("place-order", State::Compensating, 1, 3, false),
        ("place-order", State::Stuck, 1, 4, false),
        ("place-order", State::Stuck, 1, 8, true),
        ("return-order", State::Running, 1, 9, false),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, (definition, state, count, hours, paused)) in found.into_iter().zip(expected) {
        let expected = (definition, state.code(), count, paused);
        assert_eq!((found.0, found.1, found.2, found.4), expected);
        let least = hours * 3_600_000;
        assert!((least..least + SLACK_MILLIS).contains(&found.3), "{found:?}");
    }
}

/// A saga that has begun in an hour counts with that hour: otherwise no gauge would show for an hour
/// how long it takes.
async fn a_saga_that_a_fast_clock_has_dated_ahead_is_not_young(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    const HOUR_MILLIS: u64 = 3_600_000;
    let started_at = sagas.now().await.plus_millis(HOUR_MILLIS);
    sagas.admit(&[Instance { started_at, ..saga() }]).await;
    let census = sagas.store.census().await.expect("a census");
    let [one] = &census.unfinished[..] else { panic!("one state: {census:?}") };
    let off = one.oldest_millis.abs_diff(HOUR_MILLIS);
    assert!(off < 60_000, "{} ms", one.oldest_millis);
}
