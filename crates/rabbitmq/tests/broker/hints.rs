use std::time::Duration;

use saga_core::SagaId;
use saga_messaging::{Changed, Transport};
use saga_test_support::eventually;
use tokio::sync::broadcast::Receiver;
use uuid::Uuid;

use crate::setup::{SOON, connect, settings, stranger};

async fn hint(changes: &mut Receiver<Vec<Changed>>) -> Option<Vec<Changed>> {
    let patience = Duration::from_millis(200);
    tokio::time::timeout(patience, changes.recv()).await.ok()?.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_reaches_every_instance_and_garbage_none() {
    let settings = settings("hints");
    let (here, there) = (connect(&settings).await, connect(&settings).await);
    let (mut heard_here, mut heard_there) = (here.changes(), there.changes());
    let changed = Changed { saga: SagaId(Uuid::from_u128(7)), version: 3 };
    for heard in [&mut heard_here, &mut heard_there] {
        let seen = eventually("a hint", SOON, async || {
            here.announce(vec![changed]);
            hint(heard).await
        })
        .await;
        assert!(seen.iter().all(|one| *one == changed));
    }
    while hint(&mut heard_there).await.is_some() {}

    let (_connection, channel) = stranger(&settings).await;
    for garbage in [&b""[..], b"x", &[0; 25], &vec![0; 24 * 5_000]] {
        let exchange = here.topology().hints();
        let (exchange, key) = (exchange.as_str().into(), "".into());
        let properties = Default::default();
        drop(
            channel
                .basic_publish(exchange, key, Default::default(), garbage, properties)
                .await
                .expect("written"),
        );
    }
    assert_eq!(hint(&mut heard_there).await, None);
    here.announce(vec![changed]);
    assert_eq!(hint(&mut heard_there).await, Some(vec![changed]));
}

#[tokio::test(flavor = "multi_thread")]
async fn announcing_more_than_fits_drops_hints_and_blocks_nobody() {
    let rabbit = connect(&settings("flood")).await;
    let changed = Changed { saga: SagaId(Uuid::from_u128(7)), version: 3 };
    for _ in 0..100_000 {
        rabbit.announce(vec![changed; 10]);
    }
    rabbit.close().await;
}
