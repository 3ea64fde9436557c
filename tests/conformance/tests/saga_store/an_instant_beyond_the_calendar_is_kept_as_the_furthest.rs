//! "Never" is an instant that no database has. It is kept as the furthest one
//! that both have, and stays what it is: not due, or long due.

use saga_core::{Instance, Timestamp};

use super::{Beneath, HOSTED, Sagas, Store, look, saga};

const EARLIEST: Timestamp = Timestamp(-210_866_803_200_000_000);
const LATEST: Timestamp = Timestamp(8_210_266_876_799_999_999);

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let never = Instance {
        started_at: Timestamp(i64::MIN),
        deadline: Timestamp(i64::MAX),
        wake_at: Some(Timestamp(i64::MAX)),
        ..saga()
    };
    let always = Instance { wake_at: Some(Timestamp(i64::MIN)), ..saga() };
    let edges = Instance { started_at: EARLIEST, deadline: LATEST, ..saga() };
    sagas.admit(&[never.clone(), always.clone(), edges.clone()]).await;
    let found = sagas.find(never.id).await.expect("it exists");
    assert_eq!((found.started_at, found.deadline), (EARLIEST, LATEST));
    assert_eq!(found.wake_at, Some(LATEST));
    let found = sagas.find(edges.id).await.expect("it exists");
    assert_eq!((found.started_at, found.deadline), (EARLIEST, LATEST));
    assert_eq!(sagas.store.claim(&HOSTED, 9, look).await, Ok(vec![always.id]));
}

super::over_each_adapter!();
