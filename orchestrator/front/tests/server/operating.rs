//! The operators' calls that list and show sagas.

use saga_operations::v1::{GetSagaRequest, ListSagasRequest, Saga, SagaState};
use tonic::Code;

use crate::world::{Answer, World, fields, waiting};

#[tokio::test]
async fn a_saga_is_shown_with_its_steps_and_its_history() {
    let world = World::new().await;
    world.broker.answer("authorise-payment/action", Answer::Refuse("CARD_DECLINED"));
    let id = world.place(waiting("k")).await.expect("accepted").order_id;
    let request = GetSagaRequest { saga_id: id.clone() };
    let answer = world.sagas().get_saga(request).await.expect("known").into_inner();
    let saga = answer.saga.expect("set");
    assert_eq!((saga.state(), saga.definition.as_str()), (SagaState::Compensated, "place-order"));
    assert_eq!(saga.why, "authorise-payment was refused: the test wants it so (CARD_DECLINED)");
    assert_eq!((saga.caller.as_str(), saga.wake_at_micros), ("anonymous", 0));
    let steps: Vec<String> = saga.steps.iter().map(|s| format!("{} {}", s.name, s.state)).collect();
    assert_eq!(
        steps,
        [
            "create-order undone",
            "reserve-stock undone",
            "authorise-payment refused",
            "capture-payment pending",
            "commit-stock pending",
            "confirm-order pending",
        ]
    );
    assert_eq!(answer.history.len() as i64, saga.version);
    let told: Vec<String> =
        answer.history.iter().map(|t| format!("{} -> {}", t.what, t.sent.join(", "))).collect();
    assert_eq!(
        told,
        [
            "it was admitted -> create-order/action #1",
            "create-order is done -> reserve-stock/action #1",
            "reserve-stock is done -> authorise-payment/action #1",
            "authorise-payment was refused: the test wants it so (CARD_DECLINED) -> reserve-stock/compensation #1",
            "reserve-stock is undone -> create-order/compensation #1",
            "create-order is undone -> ",
        ]
    );
}

#[tokio::test]
async fn an_open_step_says_how_often_it_was_asked() {
    let world = World::new().await;
    world.broker.answer("reserve-stock/action", Answer::Hold);
    let id = world.placed("k").await;
    world.until("it is asked for", |w| w.broker.seen("reserve-stock/action")).await;
    let request = GetSagaRequest { saga_id: id };
    let answer = world.sagas().get_saga(request).await.expect("known").into_inner();
    let saga = answer.saga.expect("set");
    assert_eq!((saga.steps[1].state.as_str(), saga.steps[1].attempts), ("open", 1));
    assert!(saga.wake_at_micros > saga.started_at_micros);
}

#[tokio::test]
async fn a_stuck_saga_says_what_it_needs() {
    let world = World::new().await;
    world.broker.answer("commit-stock/action", Answer::Refuse("NO_RESERVATION"));
    let id = world.placed("k").await;
    world.until("it is stuck", |w| w.saga(&id).phase.name() == "stuck").await;
    let request = ListSagasRequest { state: SagaState::Stuck.into(), ..Default::default() };
    let stuck = world.sagas().list_sagas(request).await.expect("a page").into_inner().sagas;
    assert_eq!(stuck.len(), 1);
    assert_eq!(stuck[0].why, "commit-stock was refused: the test wants it so (NO_RESERVATION)");
}

#[tokio::test]
async fn an_unknown_saga_is_not_found() {
    let world = World::new().await;
    let saga_id = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
    let status = world.sagas().get_saga(GetSagaRequest { saga_id }).await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn sagas_come_in_pages_newest_first_and_filtered() {
    let world = World::new().await;
    let mut placed = Vec::new();
    for n in 0..5 {
        placed.push(world.place(waiting(&format!("k{n}"))).await.expect("accepted").order_id);
    }
    world.broker.answer("reserve-stock/action", Answer::Refuse("OUT_OF_STOCK"));
    world.place(waiting("refused")).await.expect("accepted");
    let mut request = ListSagasRequest {
        state: SagaState::Completed.into(),
        definition: "place-order".to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let answer = world.sagas().list_sagas(request.clone()).await.expect("a page").into_inner();
        seen.extend(answer.sagas.into_iter().map(|Saga { saga_id, .. }| saga_id));
        pages += 1;
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    placed.sort();
    placed.reverse();
    assert_eq!((seen, pages), (placed, 3));

    request.definition = "return-order".to_owned();
    let status = world.sagas().list_sagas(request.clone()).await.expect_err("another filter");
    assert_eq!(fields(&status), ["page_token"]);
    request.page_token.clear();
    let none = world.sagas().list_sagas(request.clone()).await.expect("a page").into_inner();
    assert!(none.sagas.is_empty());
    request.definition = "'; DROP TABLE".to_owned();
    let status = world.sagas().list_sagas(request).await.expect_err("no name");
    assert_eq!(fields(&status), ["definition"]);
}
