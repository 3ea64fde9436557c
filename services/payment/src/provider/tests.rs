//! Tests of the client with the real provider.

use std::{net::SocketAddr, time::Instant};

use saga_provider::Settings as Theirs;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const KEY: &str = "01890a5d-ac96-774b-bcce-b302099a8057/authorise-payment/action";
const UNDO_KEY: &str = "01890a5d-ac96-774b-bcce-b302099a8057/authorise-payment/compensation";
const CAPTURE_KEY: &str = "01890a5d-ac96-774b-bcce-b302099a8057/capture-payment/action";

struct Remote {
    address: SocketAddr,
    dir: TempDir,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    /// True if the clients of this provider use HTTP/2.
    http2: bool,
}

impl Remote {
    async fn start(http2: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::serve(dir, listener, http2)
    }

    fn serve(dir: TempDir, listener: TcpListener, http2: bool) -> Self {
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let settings = Theirs {
            slow_after: Duration::from_secs(15),
            very_slow_after: Duration::from_secs(2),
            ..Theirs::new(dir.path())
        };
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { saga_provider::run(settings, listener, shutdown).await.expect("it ends well") }
        });
        Self { address, dir, shutdown, running, http2 }
    }

    async fn stop(self) -> (TempDir, SocketAddr) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("in time").expect("no panic");
        (self.dir, self.address)
    }

    fn client(&self, change: impl FnOnce(&mut ProviderSettings)) -> Provider {
        let mut settings = ProviderSettings::new(format!("http://{}", self.address));
        settings.http2 = self.http2;
        settings.retries = 0;
        settings.breaker.first_pause = Duration::from_millis(500);
        change(&mut settings);
        Provider::new(settings).expect("sound settings")
    }

    /// Returns the status of the payment under a key, read directly from the provider.
    async fn status(&self, key: &str) -> Option<String> {
        let url = format!("http://{}/v1/payments?idempotency_key={key}", self.address);
        let body = reqwest::get(url).await.expect("an answer").text().await.expect("a body");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        body["payments"][0]["status"].as_str().map(ToOwned::to_owned)
    }

    async fn outage(&self, seconds: u64) {
        let url = format!("http://{}/control/outage", self.address);
        let body = format!(r#"{{"seconds":{seconds}}}"#);
        let sent = reqwest::Client::new().post(url).body(body).send().await.expect("an answer");
        assert_eq!(sent.status(), 200);
    }
}

async fn authorise(
    client: &Provider,
    token: &str,
    look_up_first: bool,
) -> Result<Authorisation, AskError> {
    let amount = Money::new(1_000, "EUR");
    let charge = Charge { order: SagaId(Uuid::nil()), amount: &amount, token };
    client.authorise(KEY, &charge, look_up_first).await
}

fn held(found: Result<Authorisation, AskError>) -> String {
    match found.expect("clear") {
        Authorisation::Authorised { provider_id } => provider_id,
        Authorisation::Declined { refusal, .. } => panic!("declined: {refusal:?}"),
    }
}

async fn an_answer_that_was_lost_is_found_by_looking_it_up(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|_| {});
    let lost = authorise(&client, "tok_answer_lost", false).await;
    assert!(matches!(lost, Err(AskError::NoAnswer(_))), "{:?}", lost.err());
    let found = held(authorise(&client, "tok_answer_lost", true).await);
    assert!(found.starts_with("pay_"), "{found}");
    remote.stop().await;
}

async fn a_broken_connection_is_tried_again_at_once_under_the_same_key(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|settings| settings.retries = 1);
    let first = held(authorise(&client, "tok_answer_lost", false).await);
    assert_eq!(held(authorise(&client, "tok_answer_lost", false).await), first);
    remote.stop().await;
}

async fn a_request_is_bounded_in_time(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|settings| {
        settings.timeout = Duration::from_millis(50);
        settings.retries = 2;
    });
    let begun = Instant::now();
    let late = authorise(&client, "tok_slow", false).await;
    assert!(matches!(late, Err(AskError::NoAnswer(_))));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    remote.stop().await;
}

async fn an_outage_opens_the_breaker_and_a_probe_closes_it(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|settings| settings.breaker.failures = 3);
    remote.outage(600).await;
    for _ in 0..3 {
        let unwell = authorise(&client, "tok_approved", false).await;
        assert!(matches!(unwell, Err(AskError::Unwell(503))));
    }
    assert!(matches!(client.availability(), Availability::Open { .. }));
    let refused = authorise(&client, "tok_approved", false).await;
    assert!(matches!(refused, Err(AskError::BreakerOpen(_))));
    remote.outage(0).await;
    let until = Instant::now() + PATIENCE;
    while authorise(&client, "tok_approved", false).await.is_err() {
        assert!(Instant::now() < until, "the breaker never closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.availability(), Availability::Closed);
    remote.stop().await;
}

async fn a_provider_that_is_gone_opens_the_breaker_and_one_that_is_back_is_asked_again(
    http2: bool,
) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|settings| settings.breaker.failures = 2);
    let first = held(authorise(&client, "tok_approved", false).await);
    let (dir, address) = remote.stop().await;
    for _ in 0..2 {
        // Nothing listens at the address, so no request was sent.
        let gone = authorise(&client, "tok_approved", true).await;
        assert!(matches!(gone, Err(AskError::Unreachable(_))), "{:?}", gone.err());
    }
    assert!(matches!(client.availability(), Availability::Open { .. }));
    let listener = TcpListener::bind(address).await.expect("the same port");
    let remote = Remote::serve(dir, listener, http2);
    let until = Instant::now() + PATIENCE;
    let again = loop {
        match authorise(&client, "tok_approved", true).await {
            Ok(found) => break found,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(held(Ok(again)), first);
    remote.stop().await;
}

async fn refusals_do_not_open_the_breaker(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|settings| settings.breaker.failures = 1);
    for token in ["4111111111111111", "tok_declined"] {
        let key = format!("{KEY}-{token}");
        let amount = Money::new(1_000, "EUR");
        let charge = Charge { order: SagaId(Uuid::nil()), amount: &amount, token };
        let found = client.authorise(&key, &charge, false).await;
        assert!(matches!(found, Ok(Authorisation::Declined { .. })));
    }
    assert_eq!(client.availability(), Availability::Closed);
    remote.stop().await;
}

async fn release_cancels_what_stands_under_the_actions_key_and_can_be_repeated(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|_| {});
    assert!(authorise(&client, "tok_answer_lost", false).await.is_err());
    for _ in 0..2 {
        let found = client.release(KEY, UNDO_KEY).await.expect("clear");
        assert!(matches!(found, Cancellation::Cancelled { .. }), "{found:?}");
    }
    assert_eq!(remote.status(KEY).await.as_deref(), Some("cancelled"));
    remote.stop().await;
}

async fn a_hold_that_is_still_on_its_way_when_its_undo_is_answered_never_comes_about(http2: bool) {
    let remote = Remote::start(http2).await;
    let impatient = remote.client(|settings| settings.timeout = Duration::from_millis(100));
    let client = remote.client(|_| {});
    // The provider commits the payment long after the client has stopped waiting.
    assert!(authorise(&impatient, "tok_very_slow", false).await.is_err());
    for _ in 0..2 {
        let found = client.release(KEY, UNDO_KEY).await.expect("clear");
        assert_eq!(found, Cancellation::NothingHeld);
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(remote.status(KEY).await, None);
    let late = authorise(&client, "tok_approved", true).await;
    assert!(matches!(late, Err(AskError::Unclear(_))), "the key is used up");
    remote.stop().await;
}

async fn a_capture_whose_answer_was_lost_is_found_by_looking_it_up(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|_| {});
    let payment = held(authorise(&client, "tok_capture_answer_lost", false).await);
    let amount = Money::new(1_000, "EUR");
    let lost = client.capture(CAPTURE_KEY, &payment, &amount, false).await;
    assert!(matches!(lost, Err(AskError::NoAnswer(_))));
    let found = client.capture(CAPTURE_KEY, &payment, &amount, true).await;
    let captured = Capture::Captured { provider_id: payment.clone(), amount: amount.clone() };
    assert_eq!(found.expect("clear"), captured);
    let looked_up = client.look_up_capture(CAPTURE_KEY).await;
    assert_eq!(looked_up.expect("clear"), captured, "without knowing the hold");
    remote.stop().await;
}

async fn a_capture_that_was_looked_up_and_not_found_can_never_come_about(http2: bool) {
    let remote = Remote::start(http2).await;
    let client = remote.client(|_| {});
    let payment = held(authorise(&client, "tok_approved", false).await);
    for _ in 0..2 {
        let found = client.look_up_capture(CAPTURE_KEY).await.expect("clear");
        assert!(matches!(found, Capture::Refused(_)), "{found:?}");
    }
    let late = client.capture(CAPTURE_KEY, &payment, &Money::new(1_000, "EUR"), false).await;
    assert!(matches!(late, Err(AskError::Unclear(_))), "the key is used up: {late:?}");
    assert_eq!(remote.status(KEY).await.as_deref(), Some("authorised"));
    remote.stop().await;
}

/// Neither side closes the connection, but a machine between them drops its packets.
async fn a_connection_that_has_gone_silent_is_left_behind(http2: bool) {
    let remote = Remote::start(http2).await;
    let between = Between::start(remote.address).await;
    let client = remote.client(|settings| settings.url = format!("http://{}", between.address));
    let first = held(authorise(&client, "tok_approved", false).await);
    between.silenced.send_modify(|silenced| *silenced += 1);
    let until = Instant::now() + PATIENCE;
    let again = loop {
        match authorise(&client, "tok_approved", true).await {
            Ok(found) => break found,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    assert_eq!(held(Ok(again)), first);
    remote.stop().await;
}

/// A proxy whose open connections can be silenced. Later connections work.
struct Between {
    address: SocketAddr,
    silenced: watch::Sender<u32>,
}

impl Between {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let silenced = watch::Sender::new(0);
        let silence = silenced.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut silence = silence.subscribe();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await.expect("it listens");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        _ = silence.changed() => {}
                    }
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { address, silenced }
    }
}

#[tokio::test]
async fn no_error_holds_the_token() {
    let settings = ProviderSettings { retries: 0, ..ProviderSettings::new("http://127.0.0.1:1") };
    let client = Provider::new(settings).expect("sound settings");
    let error = authorise(&client, "tok_canary", false).await.expect_err("nobody listens");
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn only_a_plain_http_url_is_taken() {
    for url in ["", "provider:80", "https://provider", "ftp://provider", "http://provider?x=1"] {
        assert!(Provider::new(ProviderSettings::new(url)).is_err(), "{url}");
    }
    assert!(Provider::new(ProviderSettings::new("http://provider:8400/")).is_ok());
}

/// Defines two tests for each property: one over HTTP/1.1 and one over HTTP/2.
macro_rules! over_both {
    ($($property:ident,)*) => {$(
        mod $property {
            #[tokio::test]
            async fn http1() {
                super::$property(false).await;
            }

            #[tokio::test]
            async fn http2() {
                super::$property(true).await;
            }
        }
    )*};
}

over_both! {
    an_answer_that_was_lost_is_found_by_looking_it_up,
    a_broken_connection_is_tried_again_at_once_under_the_same_key,
    a_request_is_bounded_in_time,
    an_outage_opens_the_breaker_and_a_probe_closes_it,
    a_provider_that_is_gone_opens_the_breaker_and_one_that_is_back_is_asked_again,
    refusals_do_not_open_the_breaker,
    release_cancels_what_stands_under_the_actions_key_and_can_be_repeated,
    a_hold_that_is_still_on_its_way_when_its_undo_is_answered_never_comes_about,
    a_capture_whose_answer_was_lost_is_found_by_looking_it_up,
    a_capture_that_was_looked_up_and_not_found_can_never_come_about,
    a_connection_that_has_gone_silent_is_left_behind,
}
