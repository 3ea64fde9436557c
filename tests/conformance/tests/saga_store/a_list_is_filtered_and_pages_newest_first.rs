//! Lists by state and by definition, page after page, each saga once.

use saga_core::{Cause, Instance, Phase, SagaId, State};
use saga_engine::ListFilter;

use super::{Beneath, Sagas, Store, saga};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
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

super::over_each_adapter!();
