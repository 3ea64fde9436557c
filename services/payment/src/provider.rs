//! The provider's HTTP client. Every call has a time limit and an idempotency key, and passes the
//! circuit breaker. No error and no log line contains a card's token.

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use reqwest::Url;
use saga_core::SagaId;
use saga_proto::Money;
use saga_trace::{Kind, Span};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::{
    breaker::{Availability, Breaker, BreakerSettings},
    rule::answer::{
        self, Authorisation, Cancellation, Capture, Refunding, RemoteStatus, Said, Unclear,
    },
    rule::not_authorised,
    wire::{Call, Http, Lost, Wire},
};

/// An id that no payment has. The provider refuses a request that names it, and records its key.
const NO_PAYMENT: &str = "pay_none";
/// A key that no request ever uses, so that looking it up changes nothing.
const PROBE: &str = "probe";
/// Interval at which the breaker is checked for a due probe.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// The client's settings.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// The provider's URL: `http://host:port`.
    pub url: String,
    /// Time limit of a request, including its repetitions.
    pub timeout: Duration,
    /// Number of times that a request is repeated at once, with the same key, after its connection
    /// failed. It is not repeated after a time-out or an answer.
    pub retries: u32,
    /// True if the client uses HTTP/2 without negotiation ("prior knowledge"). All requests then
    /// share one connection.
    pub http2: bool,
    /// Maximum number of idle connections that are kept open. Over HTTP/2 there is only one.
    pub idle_connections: usize,
    /// Settings of the circuit breaker.
    pub breaker: BreakerSettings,
}

impl ProviderSettings {
    /// Creates the default settings for a provider at this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            timeout: Duration::from_secs(2),
            retries: 2,
            http2: false,
            idle_connections: 64,
            breaker: BreakerSettings::default(),
        }
    }
}

/// The reason why the client cannot be created. Its settings must be corrected.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL is malformed.
    #[error("the payment provider's URL is not of the form http://host:port")]
    Url,
    /// The HTTP client could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(reqwest::Error),
}

/// The reason why the outcome of a request is unknown. Look it up, and try again later.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No answer arrived in time.
    #[error("the payment provider did not answer: {0}")]
    NoAnswer(String),
    /// The provider answered that it is failing.
    #[error("the payment provider answered with status {0}")]
    Unwell(u16),
    /// The provider could not be reached, so the request was not sent.
    #[error("the payment provider cannot be reached: {0}")]
    Unreachable(String),
    /// The breaker is open, so the request was not sent.
    #[error("the payment provider failed too often: not asked for another {0:?}")]
    BreakerOpen(Duration),
    /// The answer does not prove any outcome.
    #[error("the payment provider's answer proves nothing: {0}")]
    Unclear(String),
}

impl From<Unclear> for AskError {
    fn from(unclear: Unclear) -> Self {
        Self::Unclear(unclear.0)
    }
}

/// The client of the payment provider.
pub struct Provider {
    wire: Box<dyn Wire>,
    /// The provider's URL, for trace spans.
    base: Url,
    timeout: Duration,
    retries: u32,
    breaker: Breaker,
}

/// A hold to request. It has no `Debug`, because it contains the card's token.
pub(crate) struct Charge<'a> {
    pub(crate) order: SagaId,
    pub(crate) amount: &'a Money,
    pub(crate) token: &'a str,
}

#[derive(Serialize)]
struct Create<'a> {
    amount: i64,
    currency: &'a str,
    token: &'a str,
    reference: String,
}

#[derive(Serialize)]
struct AmountOnly {
    amount: i64,
}

#[derive(Serialize)]
struct Nothing {}

/// The result of [`Provider::use_up`].
enum Used {
    /// The key is used up now.
    Up,
    /// Another request has used the key before.
    Taken,
}

#[derive(Deserialize)]
struct PaymentsFound {
    payments: Vec<answer::Remote>,
}

#[derive(Deserialize)]
struct OperationFound {
    found: bool,
    #[serde(default)]
    status: u16,
    body: Option<Box<RawValue>>,
}

impl Provider {
    /// Creates a client over HTTP. It connects at its first request.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: ProviderSettings) -> Result<Self, SettingsError> {
        let ProviderSettings { timeout, idle_connections, http2, .. } = settings;
        let http = Http::new(&base(&settings)?, timeout, idle_connections, http2)
            .map_err(SettingsError::Client)?;
        Self::over(http, settings)
    }

    /// Creates a client over another [`Wire`].
    ///
    /// # Errors
    /// [`SettingsError::Url`].
    pub fn over(wire: impl Wire, settings: ProviderSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            wire: Box::new(wire),
            base: base(&settings)?,
            timeout: settings.timeout,
            retries: settings.retries,
            breaker: Breaker::new(&settings.breaker),
        })
    }

    /// Returns the state of the circuit breaker.
    #[must_use]
    pub fn availability(&self) -> Availability {
        self.breaker.availability()
    }

    /// Probes the provider whenever the breaker allows a probe, until shutdown. Without this, there
    /// might be no call to probe with, because orders are refused while the provider is
    /// unavailable.
    pub async fn keep_probing(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let pause = match self.availability() {
                Availability::Open { remaining, .. } => remaining.max(PROBE_INTERVAL),
                Availability::Closed | Availability::HalfOpen { .. } => PROBE_INTERVAL,
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if self.breaker.is_due() {
                // The result is not needed: the breaker has already counted it.
                let _ = self.operation(PROBE).await;
            }
        }
    }

    /// Requests a hold.
    pub(crate) async fn authorise(
        &self,
        key: &str,
        charge: &Charge<'_>,
        look_up_first: bool,
    ) -> Result<Authorisation, AskError> {
        if look_up_first && let Some(payment) = self.payment_under(key).await? {
            return Ok(answer::authorisation(Said::Payment(payment))?);
        }
        let body = Create {
            amount: charge.amount.minor_units,
            currency: &charge.amount.currency,
            token: charge.token,
            reference: charge.order.to_string(),
        };
        Ok(answer::authorisation(self.post("/v1/payments", key, &body).await?)?)
    }

    /// Captures held money.
    pub(crate) async fn capture(
        &self,
        key: &str,
        provider_id: &str,
        amount: &Money,
        look_up_first: bool,
    ) -> Result<Capture, AskError> {
        let path = format!("/v1/payments/{provider_id}/capture");
        let body = AmountOnly { amount: amount.minor_units };
        let said = self.once(&path, key, &body, look_up_first).await?;
        Ok(answer::capture(said, Some((provider_id, amount)))?)
    }

    /// Looks up the result of a capture under this key. If there is none, makes sure that no later
    /// request under the key can take money.
    pub(crate) async fn look_up_capture(&self, key: &str) -> Result<Capture, AskError> {
        if let Some(said) = self.operation(key).await? {
            return Ok(answer::capture(said, None)?);
        }
        match self.use_up(key).await? {
            Used::Up => Ok(Capture::Refused(not_authorised())),
            Used::Taken => {
                let taken = || AskError::Unclear("the capture's key is taken".to_owned());
                Ok(answer::capture(self.operation(key).await?.ok_or_else(taken)?, None)?)
            }
        }
    }

    /// Refunds captured money.
    pub(crate) async fn refund(
        &self,
        key: &str,
        provider_id: &str,
        amount: &Money,
        look_up_first: bool,
    ) -> Result<Refunding, AskError> {
        let path = format!("/v1/payments/{provider_id}/refunds");
        let body = AmountOnly { amount: amount.minor_units };
        Ok(answer::refunding(self.once(&path, key, &body, look_up_first).await?)?)
    }

    /// Cancels a hold.
    pub(crate) async fn cancel(
        &self,
        key: &str,
        provider_id: &str,
        amount: &Money,
    ) -> Result<Cancellation, AskError> {
        let path = format!("/v1/payments/{provider_id}/cancel");
        let said = self.post(&path, key, &Nothing {}).await?;
        Ok(answer::cancellation(said, provider_id, amount)?)
    }

    /// Makes sure that no money is held under an action's key, now or later. The action's request
    /// may still be on its way. So if the provider has no payment under the key, this method uses
    /// the key up: the provider then refuses the action's request, because another request has used
    /// its key.
    pub(crate) async fn release(
        &self,
        action_key: &str,
        key: &str,
    ) -> Result<Cancellation, AskError> {
        if let Some(found) = self.release_found(action_key, key).await? {
            return Ok(found);
        }
        match self.use_up(action_key).await? {
            Used::Up => Ok(Cancellation::NothingHeld),
            Used::Taken => self
                .release_found(action_key, key)
                .await?
                .ok_or_else(|| AskError::Unclear("the action's key is taken".to_owned())),
        }
    }

    /// Uses a key up with another request, so that the provider refuses any later request under it.
    async fn use_up(&self, key: &str) -> Result<Used, AskError> {
        let path = format!("/v1/payments/{NO_PAYMENT}/cancel");
        match self.post(&path, key, &Nothing {}).await? {
            Said::No { status: 404, .. } if self.operation(key).await?.is_some() => Ok(Used::Up),
            Said::No { status: 422, .. } => Ok(Used::Taken),
            Said::Payment(_) | Said::Refund | Said::No { .. } => {
                Err(AskError::Unclear("a key could not be used up".to_owned()))
            }
        }
    }

    async fn release_found(
        &self,
        action_key: &str,
        key: &str,
    ) -> Result<Option<Cancellation>, AskError> {
        let Some(payment) = self.payment_under(action_key).await? else { return Ok(None) };
        let amount = Money::new(payment.amount, payment.currency);
        Ok(Some(match payment.status {
            RemoteStatus::Authorised => self.cancel(key, &payment.id, &amount).await?,
            RemoteStatus::Cancelled => Cancellation::Cancelled { provider_id: payment.id, amount },
            RemoteStatus::Declined => Cancellation::NothingHeld,
            RemoteStatus::Captured => Cancellation::AlreadyCaptured,
        }))
    }

    /// Returns the payment that was created under a key.
    async fn payment_under(&self, key: &str) -> Result<Option<answer::Remote>, AskError> {
        let body = self.get(&format!("/v1/payments?idempotency_key={key}")).await?;
        let found: PaymentsFound = understood(&body)?;
        Ok(found.payments.into_iter().next())
    }

    /// Returns the provider's answer to the request under a key, if there was one.
    async fn operation(&self, key: &str) -> Result<Option<Said>, AskError> {
        let body = self.get(&format!("/v1/operations?idempotency_key={key}")).await?;
        let found: OperationFound = understood(&body)?;
        match (found.found, found.body) {
            (true, Some(body)) => Ok(Some(Said::read(found.status, body.get())?)),
            (true, None) => Err(AskError::Unclear("an operation without its answer".to_owned())),
            (false, _) => Ok(None),
        }
    }

    async fn once(
        &self,
        path: &str,
        key: &str,
        body: &impl Serialize,
        look_up_first: bool,
    ) -> Result<Said, AskError> {
        if look_up_first && let Some(said) = self.operation(key).await? {
            return Ok(said);
        }
        self.post(path, key, body).await
    }

    async fn post(&self, path: &str, key: &str, body: &impl Serialize) -> Result<Said, AskError> {
        let body = serde_json::to_vec(body).expect("texts and numbers are JSON");
        let (status, body) = self.exchange(Call::post(path, key, body)).await?;
        Ok(Said::read(status, &body)?)
    }

    async fn get(&self, path_and_query: &str) -> Result<String, AskError> {
        match self.exchange(Call::get(path_and_query)).await? {
            (200, body) => Ok(body),
            (status, _) => Err(AskError::Unclear(format!("a look-up's status is {status}"))),
        }
    }

    /// Sends a request, with its repetitions, through the breaker. To the breaker, any answer other
    /// than 5xx is a success, even a refusal.
    async fn exchange(&self, call: Call) -> Result<(u16, String), AskError> {
        let permit = self.breaker.permit().map_err(|pause| {
            counter!("saga_payment_provider_requests_total", "outcome" => "breaker open")
                .increment(1);
            AskError::BreakerOpen(pause)
        })?;
        let began = Instant::now();
        let answered = tokio::time::timeout(self.timeout, self.attempts(call)).await;
        let answered = answered
            .unwrap_or_else(|_| Err(AskError::NoAnswer(format!("not within {:?}", self.timeout))));
        let outcome = match &answered {
            Ok(_) | Err(AskError::Unclear(_) | AskError::BreakerOpen(_)) => {
                permit.answered();
                "answered"
            }
            Err(AskError::NoAnswer(_) | AskError::Unreachable(_)) => {
                permit.failed();
                "no answer"
            }
            Err(AskError::Unwell(_)) => {
                permit.failed();
                "unwell"
            }
        };
        counter!("saga_payment_provider_requests_total", "outcome" => outcome).increment(1);
        histogram!("saga_payment_provider_seconds", "outcome" => outcome).record(began.elapsed());
        answered
    }

    async fn attempts(&self, call: Call) -> Result<(u16, String), AskError> {
        let (mut resent, mut may_have_arrived) = (0, false);
        loop {
            let outcome = self.traced(call.clone(), resent).await;
            match outcome {
                Err(AskError::NoAnswer(_) | AskError::Unreachable(_)) if resent < self.retries => {
                    may_have_arrived |= matches!(outcome, Err(AskError::NoAnswer(_)));
                    resent += 1;
                }
                Err(AskError::Unreachable(why)) if may_have_arrived => {
                    return Err(AskError::NoAnswer(why));
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a request once. If its command is traced, the request has a span below the command's.
    async fn traced(&self, mut call: Call, resent: u32) -> Result<(u16, String), AskError> {
        let Some(here) = saga_trace::current() else { return self.attempt(&call).await };
        // The span leaves out the query, because it contains the command's id.
        let path = call.path_and_query.split('?').next().unwrap_or_default();
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut span = Span::child(here, Kind::Client, call.method().to_owned())
            .with("http.request.method", call.method().to_owned())
            .with("server.address", self.base.host_str().unwrap_or_default().to_owned())
            .with("server.port", i64::from(self.base.port().unwrap_or(80)))
            .with("url.full", url);
        if resent > 0 {
            span = span.with("http.request.resend_count", i64::from(resent));
        }
        call.traceparent = Some(span.context.to_string());
        let answered = self.attempt(&call).await;
        let span = match &answered {
            Ok((status, _)) | Err(AskError::Unwell(status)) => {
                span.with("http.response.status_code", i64::from(*status))
            }
            Err(
                AskError::NoAnswer(_)
                | AskError::Unreachable(_)
                | AskError::BreakerOpen(_)
                | AskError::Unclear(_),
            ) => span,
        };
        match &answered {
            Err(error) => span.failed(error.to_string()).end(),
            Ok((400.., _)) => span.failed("refused").end(),
            Ok(_) => span.end(),
        }
        answered
    }

    async fn attempt(&self, call: &Call) -> Result<(u16, String), AskError> {
        match self.wire.send(call).await {
            Ok((status @ 500.., _)) => Err(AskError::Unwell(status)),
            Ok((status, body)) => match String::from_utf8(body) {
                Ok(body) => Ok((status, body)),
                Err(_) => Err(AskError::Unclear("an answer that is not UTF-8".to_owned())),
            },
            Err(Lost::NotSent(why)) => Err(AskError::Unreachable(why)),
            Err(Lost::NoAnswer(why)) => Err(AskError::NoAnswer(why)),
            Err(Lost::Unreadable(why)) => Err(AskError::Unclear(why)),
        }
    }
}

fn base(settings: &ProviderSettings) -> Result<Url, SettingsError> {
    let url = Url::parse(&settings.url).map_err(|_| SettingsError::Url)?;
    if url.scheme() != "http" || !url.has_host() || url.query().is_some() {
        return Err(SettingsError::Url);
    }
    Ok(url)
}

fn understood<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, AskError> {
    serde_json::from_str(body)
        .map_err(|_| AskError::Unclear("a look-up's answer is not understood".to_owned()))
}
