use crate::support::{Provider, dir, number, reply};

#[tokio::test]
async fn every_malformed_payment_has_its_code_and_leaves_no_trace() {
    let cases: &[(&str, u16, &str)] = &[
        ("", 400, "invalid_request"),
        ("{", 400, "invalid_request"),
        ("[]", 400, "invalid_request"),
        ("null", 400, "invalid_request"),
        ("\u{feff}{}", 400, "invalid_request"),
        (r#"{"amount":1,"currency":"EUR","token":"tok_approved"}"#, 400, "invalid_request"),
        (
            r#"{"amount":1,"currency":"EUR","token":"tok_approved","reference":"a","more":1}"#,
            400,
            "invalid_request",
        ),
        (
            r#"{"amount":1,"amount":2,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_request",
        ),
        (
            r#"{"amount":"1","currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_request",
        ),
        (
            r#"{"amount":1.5,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_request",
        ),
        (
            r#"{"amount":1e400,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_request",
        ),
        (
            r#"{"amount":NaN,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_request",
        ),
        (
            r#"{"amount":9223372036854775808,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_request",
        ),
        (
            r#"{"amount":9223372036854775807,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_amount",
        ),
        (
            r#"{"amount":1000000000001,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_amount",
        ),
        (
            r#"{"amount":0,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_amount",
        ),
        (
            r#"{"amount":-5,"currency":"EUR","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_amount",
        ),
        (
            r#"{"amount":1,"currency":"eur","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_currency",
        ),
        (
            r#"{"amount":1,"currency":"EURO","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_currency",
        ),
        (
            r#"{"amount":1,"currency":"€","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_currency",
        ),
        (
            r#"{"amount":1,"currency":"","token":"tok_approved","reference":"a"}"#,
            400,
            "invalid_currency",
        ),
        (
            r#"{"amount":1,"currency":"EUR","token":"4111111111111111","reference":"a"}"#,
            400,
            "invalid_token",
        ),
        (
            r#"{"amount":1,"currency":"EUR","token":"tok_unheard_of","reference":"a"}"#,
            400,
            "invalid_token",
        ),
        (r#"{"amount":1,"currency":"EUR","token":"","reference":"a"}"#, 400, "invalid_token"),
        (
            r#"{"amount":1,"currency":"EUR","token":"tok_approved","reference":""}"#,
            400,
            "invalid_reference",
        ),
        (
            r#"{"amount":1,"currency":"EUR","token":"tok_approved","reference":"a\u0000b"}"#,
            400,
            "invalid_reference",
        ),
    ];
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    for (body, status, code) in cases {
        let request =
            provider.client.post(provider.url("/v1/payments")).header("Idempotency-Key", "key");
        let answer =
            reply(request.body(*body).send().await.expect("an answer")).await.expect("JSON");
        assert_eq!((answer.status.as_u16(), answer.code()), (*status, *code), "{body}");
        let text = answer.body.to_string();
        assert!(
            !text.contains("tok_") && !text.contains("4111"),
            "an answer repeats the token: {text}"
        );
    }
    // The key is still free, because none of the bad requests was recorded.
    assert_eq!(provider.create("key", "tok_approved").await.status, 201);
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM operations"), 1);
}

#[tokio::test]
async fn text_that_looks_dangerous_is_only_text() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    for (key, reference) in
        [("k1", "'; DROP TABLE payments; --"), ("k2", "\u{202e}\u{1f4b3} ünïcode"), ("'k3--", "a")]
    {
        let body = serde_json::json!({ "amount": 1, "currency": "EUR", "token": "tok_approved", "reference": reference });
        let created = provider.post("/v1/payments", key, body).await;
        assert_eq!(
            (created.status.as_u16(), created.body["reference"].as_str()),
            (201, Some(reference))
        );
    }
    provider.stop().await;
    assert_eq!(number(dir.path(), "SELECT count(*) FROM payments"), 3);
}

#[tokio::test]
async fn a_post_without_a_usable_key_is_refused() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let long = "k".repeat(256);
    for key in [None, Some(""), Some("two words"), Some("ключ"), Some(long.as_str())] {
        let mut request = provider.client.post(provider.url("/v1/payments")).body("{}");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key.as_bytes());
        }
        let answer = reply(request.send().await.expect("an answer")).await.expect("JSON");
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, "invalid_idempotency_key"),
            "{key:?}"
        );
    }
    assert_eq!(
        provider.create(&long[1..], "tok_approved").await.status,
        201,
        "255 characters are fine"
    );
    assert_eq!(provider.get("/v1/operations").await.code(), "invalid_idempotency_key");
    assert_eq!(
        provider.get("/v1/payments?idempotency_key=").await.code(),
        "invalid_idempotency_key"
    );
    provider.stop().await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_what_is_too_large_is_refused() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let odd_ids = ["pay_unknown", "1", "pay_%00", "%ff", "..%2f..", "pay_%F0%9F%92%B3"];
    for (n, id) in odd_ids.iter().enumerate() {
        let got = provider.get(&format!("/v1/payments/{id}")).await;
        assert_eq!((got.status.as_u16(), got.code()), (404, "payment_not_found"), "{id}");
        let captured = provider.capture(id, &format!("capture-{n}")).await;
        assert_eq!((captured.status.as_u16(), captured.code()), (404, "payment_not_found"), "{id}");
    }
    assert_eq!(provider.get("/v2/payments").await.code(), "not_found");
    let method =
        provider.client.delete(provider.url("/v1/payments")).send().await.expect("an answer");
    assert_eq!(reply(method).await.expect("JSON").code(), "method_not_allowed");
    let large = serde_json::json!({ "reference": "x".repeat(65 * 1024) });
    let refused = provider.post("/v1/payments", "key", large).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (413, "body_too_large"));
    provider.stop().await;
}
