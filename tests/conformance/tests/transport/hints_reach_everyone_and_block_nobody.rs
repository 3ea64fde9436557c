use saga_core::SagaId;
use saga_messaging::{Changed, Transport};
use saga_test_support::eventually;
use uuid::Uuid;

use super::bench::{Bench, Memory, NEVER, Rabbit, SOON};

async fn holds(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    // One that never looks must hold up nobody.
    let _idle = there.changes();
    let (mut heard_here, mut heard_there) = (here.changes(), there.changes());
    let hint = |version| vec![Changed { saga: SagaId(Uuid::from_u128(7)), version }];
    here.announce(Vec::new());
    for heard in [&mut heard_here, &mut heard_there] {
        // May be lost, so it is told until it is heard.
        let first = eventually("a hint", SOON, async || {
            here.announce(hint(3));
            tokio::time::timeout(NEVER, heard.recv()).await.ok()?.ok()
        });
        assert!(first.await.iter().all(|one| hint(3).contains(one)));
    }

    let flood = tokio::task::spawn_blocking({
        let here = here.clone();
        move || (0..20_000).for_each(|_| here.announce(vec![hint(4)[0]; 5]))
    });
    tokio::time::timeout(SOON, flood)
        .await
        .expect("announcing waits for nobody")
        .expect("no panic");
    eventually("a hint after the flood", SOON, async || {
        here.announce(hint(5));
        let hearing = async {
            // Whatever is left of the flood comes first, or was missed.
            while !heard_there.recv().await.is_ok_and(|heard| heard.contains(&hint(5)[0])) {}
        };
        tokio::time::timeout(NEVER, hearing).await.ok()
    })
    .await;
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
