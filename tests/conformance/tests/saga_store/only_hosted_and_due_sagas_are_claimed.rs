//! A claim leaves alone what is not due, and what its binary does not host.

use saga_core::{Instance, Phase};

use super::{Beneath, FUTURE, HOSTED, PAST, Sagas, Store, due_at, look, saga};

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let hosted = due_at(PAST);
    let of = |definition: &str, definition_version| Instance {
        definition: definition.to_owned(),
        definition_version,
        ..due_at(PAST)
    };
    let newer = of("place-order", 2);
    let another = of("return-order", 1);
    sagas
        .admit(&[
            hosted.clone(),
            newer.clone(),
            another.clone(),
            of("Place-Order", 1),
            of("place-order ", 1),
            due_at(FUTURE),
            Instance { wake_at: None, ..saga() },
            Instance { wake_at: None, phase: Phase::Completed, ..saga() },
        ])
        .await;
    assert_eq!(sagas.store.claim(&HOSTED, 100, look).await, Ok(vec![hosted.id]));
    // A claim that writes nothing has taken nothing.
    assert_eq!(sagas.store.claim(&HOSTED, 100, look).await, Ok(vec![hosted.id]));
    let mut both = sagas
        .store
        .claim(&[("return-order", 1), ("place-order", 2), ("place-order", 3)], 100, look)
        .await
        .expect("a claim");
    both.sort();
    assert_eq!(both, [newer.id, another.id]);
    // Not every pairing of the names with the versions.
    let crossed = [("return-order", 2), ("other", 1)];
    assert_eq!(sagas.store.claim(&crossed, 100, look).await, Ok(vec![]));
    assert_eq!(sagas.store.claim(&[], 100, look).await, Ok(vec![]));
}

super::over_each_adapter!();
