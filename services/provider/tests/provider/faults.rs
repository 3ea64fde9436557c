use std::time::{Duration, Instant};

use saga_provider::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Provider, client, dir, id, number, payment};

#[tokio::test]
async fn a_lost_answer_is_a_transport_error_and_a_repeat_gets_the_recorded_one() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    // The connection has been used before, like one from a client's pool.
    assert_eq!(provider.create("before", "tok_approved").await.status, 201);
    let error = provider
        .try_post("/v1/payments", "key", &payment("tok_answer_lost-1"))
        .await
        .expect_err("no answer");
    assert!(error.status().is_none() && error.is_request(), "{error:?}");
    let found = provider.get("/v1/operations?idempotency_key=key").await;
    assert_eq!(
        (&found.body["found"], &found.body["body"]["status"]),
        (&json!(true), &json!("authorised"))
    );
    let again = provider.create("key", "tok_answer_lost-1").await;
    assert!(again.replayed);
    assert_eq!(again.body, found.body["body"]);
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger WHERE idempotency_key = 'key'"), 1);
}

#[tokio::test]
async fn not_one_byte_of_a_lost_answer_reaches_the_caller() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let body = payment("tok_answer_lost").to_string();
    let request = format!(
        "POST /v1/payments HTTP/1.1\r\nhost: provider\r\nidempotency-key: raw\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(provider.address).await.expect("a connection");
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut received = Vec::new();
    // The connection may be closed or reset. In both cases there is no answer.
    let _closed_or_reset =
        tokio::time::timeout(Duration::from_secs(10), connection.read_to_end(&mut received))
            .await
            .expect("the connection ends at once");
    assert_eq!(String::from_utf8_lossy(&received), "");
    provider.stop().await;
}

#[tokio::test]
async fn the_first_capture_loses_its_answer_and_its_repeat_does_not() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_capture_answer_lost").await;
    let path = format!("/v1/payments/{id}/capture");
    provider.try_post(&path, "capture", &json!({ "amount": 1_000 })).await.expect_err("no answer");
    let again = provider.capture(&id, "capture").await;
    assert!(again.replayed);
    assert_eq!(again.body["status"], "captured");
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM ledger WHERE kind = 'captured'"), 1);
}

#[tokio::test]
async fn a_token_that_is_down_recovers_after_its_attempts_even_across_a_restart() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    for _attempt in 0..2 {
        let down = provider.create("key", "tok_down").await;
        assert_eq!((down.status.as_u16(), down.code()), (503, "provider_down"));
    }
    assert_eq!(
        provider.get("/v1/operations?idempotency_key=key").await.body,
        json!({ "found": false })
    );
    provider.stop().await;
    let provider = Provider::start(dir.path()).await;
    assert_eq!(provider.create("key", "tok_down").await.status, 503);
    let up = provider.create("key", "tok_down").await;
    assert_eq!((up.status.as_u16(), &up.body["status"]), (201, &json!("authorised")));
    provider.stop().await;
}

#[tokio::test]
async fn a_slow_token_commits_at_once_and_answers_late() {
    let dir = dir();
    let slow_after = Duration::from_millis(1_000);
    let provider = Provider::start_with(Settings { slow_after, ..Settings::new(dir.path()) }).await;
    let started = Instant::now();
    let body = payment("tok_slow");
    let (slow, found) = tokio::join!(provider.try_post("/v1/payments", "key", &body), async {
        tokio::time::sleep(slow_after / 2).await;
        provider.get("/v1/payments?idempotency_key=key").await
    });
    assert!(started.elapsed() >= slow_after);
    assert_eq!(found.body, json!({ "payments": [slow.expect("an answer").body] }));
    let started = Instant::now();
    assert!(provider.create("key", "tok_slow").await.replayed);
    assert!(started.elapsed() < slow_after, "a recorded answer is not slow");
    provider.stop().await;
}

#[tokio::test]
async fn a_very_slow_token_commits_after_its_caller_has_gone() {
    let dir = dir();
    let very_slow_after = Duration::from_millis(2_000);
    let provider =
        Provider::start_with(Settings { very_slow_after, ..Settings::new(dir.path()) }).await;
    let impatient = client(Duration::from_millis(200));
    let request = impatient.post(provider.url("/v1/payments")).header("Idempotency-Key", "key");
    let error = request.json(&payment("tok_very_slow")).send().await.expect_err("too slow");
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(
        provider.get("/v1/operations?idempotency_key=key").await.body,
        json!({ "found": false })
    );
    let committed = async {
        while provider.get("/v1/operations?idempotency_key=key").await.body["found"] == json!(false)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), committed).await.expect("committed in the end");
    assert!(provider.create("key", "tok_very_slow").await.replayed);
    provider.stop().await;
}

#[tokio::test]
async fn a_shutdown_cuts_a_very_slow_call_short_and_nothing_of_it_happens() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let (client, url) = (provider.client.clone(), provider.url("/v1/payments"));
    let call = tokio::spawn(async move {
        client
            .post(url)
            .header("Idempotency-Key", "key")
            .json(&payment("tok_very_slow"))
            .send()
            .await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    provider.stop().await;
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(call.await.expect("no panic").expect("an answer").status(), 503);
    assert_eq!(number(dir.path(), "SELECT count(*) FROM payments"), 0);
}

#[tokio::test]
async fn an_outage_answers_everything_with_503_until_it_is_over() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let id = provider.authorised("create", "tok_approved").await;
    control(&provider, "/control/outage", json!({ "seconds": 1 }), 200).await;
    assert_eq!(provider.create("key", "tok_approved").await.code(), "provider_down");
    assert_eq!(provider.get(&format!("/v1/payments/{id}")).await.status, 503);
    assert_eq!(provider.get("/health").await.body["status"], "outage");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(provider.create("key", "tok_approved").await.status, 201);

    control(&provider, "/control/outage", json!({ "seconds": 600 }), 200).await;
    control(&provider, "/control/outage", json!({ "seconds": 0 }), 200).await;
    assert_eq!(provider.get(&format!("/v1/payments/{id}")).await.status, 200);
    control(&provider, "/control/outage", json!({ "seconds": 601 }), 400).await;
    control(&provider, "/control/outage", json!({ "seconds": -1 }), 400).await;
    provider.stop().await;
}

#[tokio::test]
async fn a_delay_holds_every_call_until_it_is_taken_back() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    control(&provider, "/control/delay", json!({ "millis": 300 }), 200).await;
    let started = Instant::now();
    let id = id(&provider.create("key", "tok_approved").await);
    provider.get(&format!("/v1/payments/{id}")).await;
    assert!(started.elapsed() >= Duration::from_millis(600));
    control(&provider, "/control/delay", json!({ "millis": 0 }), 200).await;
    control(&provider, "/control/delay", json!({ "millis": 60_001 }), 400).await;
    provider.stop().await;
}

async fn control(provider: &Provider, path: &str, body: Value, expected: u16) {
    let response =
        provider.client.post(provider.url(path)).json(&body).send().await.expect("an answer");
    assert_eq!(response.status(), expected, "{path} {body}");
}
