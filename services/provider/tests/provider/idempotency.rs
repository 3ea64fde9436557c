use serde_json::json;

use crate::support::{Provider, dir, id, number, payment};

#[tokio::test]
async fn the_same_request_again_gets_the_recorded_answer() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let first = provider.create("create", "tok_approved").await;
    assert_eq!(provider.capture(&id(&first), "capture").await.status, 200);
    let again = provider.create("create", "tok_approved").await;
    assert!(again.replayed && !first.replayed);
    assert_eq!(again.body, first.body, "as it was answered, not as it is now");
    let refund = provider.refund(&id(&first), "refund", 300).await;
    assert_eq!(provider.refund(&id(&first), "refund", 300).await.body, refund.body);
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT sum(amount) FROM ledger WHERE kind = 'refunded'"), 300);
}

#[tokio::test]
async fn a_key_is_bound_to_its_method_path_and_body() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("key", "tok_approved").await;
    let reused = [
        provider.create("key", "tok_approved-2").await,
        provider.capture(&id, "key").await,
        provider.cancel(&id, "key").await,
        provider.refund(&id, "key", 1_000).await,
    ];
    for reply in reused {
        assert_eq!((reply.status.as_u16(), reply.code()), (422, "idempotency_key_reused"));
    }
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger"), 1);
}

#[tokio::test]
async fn a_refusal_stays_the_answer_even_when_the_reason_is_gone() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_approved").await;
    let refused = provider.refund(&id, "refund", 10).await;
    assert_eq!(refused.code(), "payment_not_captured");
    assert_eq!(provider.capture(&id, "capture").await.status, 200);
    let again = provider.refund(&id, "refund", 10).await;
    assert!(again.replayed);
    assert_eq!(again.body, refused.body);
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_under_one_key_leave_one_line_in_the_ledger() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let body = payment("tok_approved");
    let calls = (0..50).map(|_| provider.try_post("/v1/payments", "key", &body));
    let replies = futures::future::join_all(calls).await;
    let replies: Vec<_> = replies.into_iter().map(|reply| reply.expect("an answer")).collect();
    assert_eq!(replies.iter().filter(|reply| !reply.replayed).count(), 1);
    assert!(replies.iter().all(|reply| reply.body == replies[0].body && reply.status == 201));
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_refunds_under_different_keys_stay_within_what_was_captured() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_approved").await;
    assert_eq!(provider.capture(&id, "capture").await.status, 200);
    let (path, body) = (format!("/v1/payments/{id}/refunds"), json!({ "amount": 300 }));
    let keys: Vec<String> = (0..20).map(|n| format!("refund-{n}")).collect();
    let replies =
        futures::future::join_all(keys.iter().map(|key| provider.try_post(&path, key, &body)))
            .await;
    let made = replies
        .into_iter()
        .filter(|reply| reply.as_ref().expect("an answer").status == 201)
        .count();
    assert_eq!(made, 3);
    let health = provider.get("/health").await.body;
    assert_eq!((&health["status"], &health["writes"]), (&json!("ok"), &json!(22)), "{health}");
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT sum(amount) FROM ledger WHERE kind = 'refunded'"), 900);
}
