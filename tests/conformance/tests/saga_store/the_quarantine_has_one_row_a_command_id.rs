//! A message that comes again adds no row but is counted; its body is kept as it
//! came, whatever it is.

use saga_engine::NewQuarantined;

use super::{Beneath, Quarantined, Sagas, Store};

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let bodies = [vec![], vec![0], vec![0, 0xff, 0, 0xfe], all, vec![0x5a; 1 << 20]];
    let messages: Vec<NewQuarantined> = bodies
        .into_iter()
        .enumerate()
        .map(|(number, body)| NewQuarantined {
            id: format!("id {number} 😀"),
            reason: "no \"JSON\"; '--".to_owned(),
            from: "saga.replies".to_owned(),
            reply_to: (number % 2 == 0).then(|| "the sender's".to_owned()),
            body,
        })
        .collect();
    sagas.store.quarantine(&messages).await.expect("kept");
    let row = |message: &NewQuarantined| Quarantined {
        id: message.id.clone(),
        reason: message.reason.clone(),
        from: message.from.clone(),
        reply_to: message.reply_to.clone(),
        body: message.body.clone(),
        copies: 1,
    };
    let mut expected: Vec<Quarantined> = messages.iter().map(row).collect();
    assert!(sagas.beneath.quarantined().await == expected, "not as it came");

    // Again, one of them twice in one call, with another reason and body.
    let again = NewQuarantined {
        reason: "still none".to_owned(),
        body: b"other".to_vec(),
        ..messages[1].clone()
    };
    let others = NewQuarantined { id: "ID 1 😀".to_owned(), ..again.clone() };
    let more = [again.clone(), messages[2].clone(), again, others.clone()];
    sagas.store.quarantine(&more).await.expect("kept");
    expected[1].copies = 3;
    expected[1].reason = "still none".to_owned();
    expected[2].copies = 2;
    expected.insert(0, row(&others));
    assert!(sagas.beneath.quarantined().await == expected, "not counted");
    sagas.store.quarantine(&[]).await.expect("nothing to keep");
}

super::over_each_adapter!();
