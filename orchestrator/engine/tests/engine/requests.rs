//! A request about an existing saga may have to wait for a locked row. New sagas do not wait for it.

use std::time::Duration;

use saga_core::{Admitted, Hosted, Input, Wish};
use saga_engine::{Engine, IdempotencyKey, NewSaga, RequestError};
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::world::{Silence, Store, saga};

/// Longest time for which a new saga may wait: far shorter than a wait for a lock.
const SOON: Duration = Duration::from_secs(1);

fn key() -> IdempotencyKey {
    IdempotencyKey {
        caller: "ada".to_owned(),
        method: "PlaceOrder",
        key: "key-1".to_owned(),
        payload_hash: Vec::new(),
        saga: saga(2),
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_a_row_that_a_frozen_peer_has_locked_delays_no_new_saga() {
    let store = Store { locked: true, ..Store::default() };
    let (engine, handle) = Engine::new(store, Silence::new(), Hosted::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(engine.run(shutdown.clone()));
    let requests = handle.requests.clone();
    let wish = Wish { by: "ada".to_owned(), reason: "changed my mind".to_owned() };
    let cancel = async move { requests.input(saga(1), Input::Cancel(wish)).await };
    let cancelling = tokio::spawn(cancel);
    // The cancel is in its transaction by then.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let known = timeout(SOON, handle.requests.known(key())).await;
    assert!(matches!(known, Ok(Ok(None))), "{known:?}");
    let admitted = Admitted { caller: "ada".to_owned(), deadline_millis: 1_000, traceparent: None };
    let data = RawValue::from_string("{}".to_owned()).expect("JSON");
    let new = NewSaga { key: key(), definition: "a saga".to_owned(), data, admitted };
    let placed = timeout(SOON, handle.requests.place(new)).await;
    assert!(matches!(placed, Ok(Err(RequestError::Unhosted(_)))), "{placed:?}");
    assert!(!cancelling.is_finished(), "the cancel waits all the same");
    shutdown.cancel();
    cancelling.abort();
    let _ = running.await;
}
