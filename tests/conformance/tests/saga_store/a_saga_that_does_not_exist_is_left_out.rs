//! Of ids that are asked for, the known ones are decided: each once, in order.

use saga_core::SagaId;
use uuid::Uuid;

use super::{Beneath, Sagas, Store, look};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let mut ids = sagas.some(20).await;
    ids.sort();
    let mut asked = ids.clone();
    asked.reverse();
    asked.insert(3, SagaId(Uuid::now_v7()));
    asked.push(SagaId(Uuid::nil()));
    asked.push(ids[4]);
    assert_eq!(sagas.store.turn(&asked, look).await, Ok(ids.clone()));

    let mut found: Vec<SagaId> =
        sagas.store.find(&asked).await.expect("a read").iter().map(|saga| saga.id).collect();
    found.sort();
    assert_eq!(found, ids);
    let mut versions = sagas.store.versions(&asked).await.expect("a read");
    versions.sort();
    let expected: Vec<(SagaId, u64, bool)> = ids.iter().map(|id| (*id, 1, false)).collect();
    assert_eq!(versions, expected);

    let nobody = [SagaId(Uuid::now_v7())];
    assert_eq!(sagas.store.turn(&nobody, look).await, Ok(vec![]));
    assert_eq!(sagas.store.turn(&[], look).await, Ok(vec![]));
    assert!(sagas.store.find(&nobody).await.expect("a read").is_empty());
    assert!(sagas.store.versions(&[]).await.expect("a read").is_empty());
    assert!(sagas.history(nobody[0]).await.is_empty());
}

super::over_each_adapter!();
