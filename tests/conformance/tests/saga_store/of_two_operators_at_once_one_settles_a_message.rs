//! Whoever settles a message sees what was done to it before, however many do so at once.

use saga_engine::{Inspected, NewQuarantined, QuarantineState};
use tokio::task::JoinSet;

use super::{Beneath, Sagas, Store, a_message_is_settled_with_its_sagas_turn_or_not_at_all, moved};
use a_message_is_settled_with_its_sagas_turn_or_not_at_all::settled;

const OPERATORS: usize = 8;

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let saga = sagas.some(1).await[0];
    let id = format!("{saga}/reserve-stock/action");
    let message = NewQuarantined {
        id: id.clone(),
        reason: "unknown type".to_owned(),
        from: "saga.commands.inventory".to_owned(),
        reply_to: None,
        body: Vec::new(),
    };
    sagas.store.quarantine(&[message]).await.expect("kept");
    let mut operators = JoinSet::new();
    for _ in 0..OPERATORS {
        let (store, id) = (sagas.store.clone(), id.clone());
        operators.spawn(async move {
            let decide = |found: Inspected| {
                let message = found.message.expect("it is there");
                if message.state != QuarantineState::Open {
                    return (None, 0);
                }
                let write = moved(found.saga.expect("it is there"));
                (Some(settled(QuarantineState::Redriven, Some(write))), 1)
            };
            store.settle(&id, Some(saga), decide).await.expect("nobody is in the way")
        });
    }
    let done: usize = operators.join_all().await.into_iter().sum();
    assert_eq!(done, 1, "done more than once");
    assert_eq!(sagas.version(saga).await, 2);
    assert_eq!(sagas.message(&id).await.version, 2);
}

super::over_each_adapter!();
