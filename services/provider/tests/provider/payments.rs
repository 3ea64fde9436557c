use serde_json::json;

use crate::support::{Provider, dir, id, number};

#[tokio::test]
async fn a_payment_is_authorised_captured_and_refunded_in_parts() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let created = provider.create("create", "tok_approved-17").await;
    assert_eq!(created.status, 201);
    let id = id(&created);
    let expected = json!({
        "id": id, "status": "authorised", "amount": 1_000, "currency": "EUR",
        "captured": 0, "refunded": 0, "reference": "order-1",
    });
    assert_eq!(created.body, expected);

    let captured = provider.capture(&id, "capture").await;
    assert_eq!((captured.status.as_u16(), &captured.body["status"]), (200, &json!("captured")));
    assert_eq!(captured.body["captured"], 1_000);

    let refunded = provider.refund(&id, "refund-1", 400).await;
    assert_eq!((refunded.status.as_u16(), &refunded.body["payment_id"]), (201, &json!(id)));
    assert_eq!((&refunded.body["amount"], &refunded.body["refunded"]), (&json!(400), &json!(400)));
    assert_eq!(provider.refund(&id, "refund-2", 601).await.code(), "refund_exceeds_captured");
    assert_eq!(provider.refund(&id, "refund-3", 600).await.status, 201);
    assert_eq!(provider.refund(&id, "refund-4", 1).await.status, 409);

    let now = provider.get(&format!("/v1/payments/{id}")).await;
    assert_eq!((&now.body["captured"], &now.body["refunded"]), (&json!(1_000), &json!(1_000)));
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger"), 4);
}

#[tokio::test]
async fn a_decline_is_a_recorded_answer_and_moves_nothing() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    for (token, code) in
        [("tok_declined", "card_declined"), ("tok_insufficient_funds.2", "insufficient_funds")]
    {
        let declined = provider.create(token, token).await;
        assert_eq!((declined.status.as_u16(), &declined.body["status"]), (201, &json!("declined")));
        assert_eq!(declined.body["decline_code"], code);
        assert!(provider.create(token, token).await.replayed, "recorded");
        let id = id(&declined);
        assert_eq!(
            provider.capture(&id, &format!("capture-{token}")).await.code(),
            "payment_declined"
        );
        assert_eq!(
            provider.cancel(&id, &format!("cancel-{token}")).await.code(),
            "payment_declined"
        );
        assert_eq!(provider.get(&format!("/v1/payments/{id}")).await.body, declined.body);
    }
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger"), 0);
    assert_eq!(number(dir.path(), "SELECT count(*) FROM payments WHERE status = 'declined'"), 2);
}

#[tokio::test]
async fn cancelling_twice_is_fine_and_a_cancelled_payment_is_not_captured() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_approved").await;
    for key in ["cancel-1", "cancel-2"] {
        let cancelled = provider.cancel(&id, key).await;
        assert_eq!(
            (cancelled.status.as_u16(), &cancelled.body["status"]),
            (200, &json!("cancelled"))
        );
    }
    let refused = provider.capture(&id, "capture").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "payment_cancelled"));
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger WHERE kind = 'cancelled'"), 1);
}

#[tokio::test]
async fn a_captured_payment_is_neither_cancelled_nor_captured_again() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_approved").await;
    assert_eq!(provider.capture(&id, "capture").await.status, 200);
    for refused in [provider.cancel(&id, "cancel").await, provider.capture(&id, "capture-2").await]
    {
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "payment_captured"));
    }
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT sum(amount) FROM ledger WHERE kind = 'captured'"), 1_000);
}

#[tokio::test]
async fn only_the_whole_amount_is_captured_and_nothing_is_refunded_before_that() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_approved").await;
    let part = provider
        .post(&format!("/v1/payments/{id}/capture"), "part", json!({ "amount": 999 }))
        .await;
    assert_eq!((part.status.as_u16(), part.code()), (409, "amount_mismatch"));
    assert_eq!(provider.refund(&id, "refund", 1).await.code(), "payment_not_captured");
    provider.stop().await;
}

#[tokio::test]
async fn a_capture_can_be_declined_and_the_payment_then_cancelled() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_capture_declined").await;
    let declined = provider.capture(&id, "capture").await;
    assert_eq!((declined.status.as_u16(), declined.code()), (409, "capture_declined"));
    assert!(provider.capture(&id, "capture").await.replayed, "recorded");
    assert_eq!(provider.cancel(&id, "cancel").await.status, 200);
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger WHERE kind = 'captured'"), 0);
}

#[tokio::test]
async fn a_payment_and_an_answer_are_found_by_the_key() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    assert_eq!(
        provider.get("/v1/payments?idempotency_key=a/b/1").await.body,
        json!({ "payments": [] })
    );
    assert_eq!(
        provider.get("/v1/operations?idempotency_key=a/b/1").await.body,
        json!({ "found": false })
    );
    let created = provider.create("a/b/1", "tok_approved").await;
    let captured = provider.capture(&id(&created), "a/b/2").await;
    let found = provider.get("/v1/payments?idempotency_key=a/b/1").await;
    assert_eq!(found.body, json!({ "payments": [captured.body] }));
    let operation = provider.get("/v1/operations?idempotency_key=a/b/2").await;
    assert_eq!(operation.body, json!({ "found": true, "status": 200, "body": captured.body }));
    assert_eq!(
        provider.get("/v1/payments?idempotency_key=a/b/2").await.body,
        json!({ "payments": [] })
    );
    provider.stop().await;
}
