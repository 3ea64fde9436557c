//! A claim does not wait for a saga that a turn holds. SQLite has one writer, so
//! this is Postgres's alone.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use saga_core::{Instance, Timestamp};

use super::{Beneath, HOSTED, PAST, Sagas, Store, due_at, look, moved};

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let (held, free) = (due_at(PAST), due_at(PAST));
    sagas.admit(&[held.clone(), free.clone()]).await;
    let (inside, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let (store, id) = (sagas.store.clone(), held.id);
    let left = Mutex::new(left);
    let turn = tokio::spawn(async move {
        let decide = |_: Timestamp, found: Vec<Instance>| {
            inside.send(()).expect("somebody waits");
            tokio::task::block_in_place(|| left.lock().expect("ours alone").recv())
                .expect("it is let go");
            (found.into_iter().map(moved).collect(), ())
        };
        store.turn(&[id], decide).await
    });
    tokio::task::block_in_place(|| entered.recv()).expect("the turn holds it");
    let claim = sagas.store.clone();
    let claim = tokio::spawn(async move { claim.claim(&HOSTED, 10, look).await });
    let claimed = tokio::time::timeout(Duration::from_secs(3), claim).await;
    assert_eq!(claimed.expect("it does not wait").expect("no panic"), Ok(vec![free.id]));
    leave.send(()).expect("the turn waits");
    turn.await.expect("no panic").expect("it is committed");
    assert_eq!(sagas.version(held.id).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres() {
    property(super::on_postgres().await).await;
}
