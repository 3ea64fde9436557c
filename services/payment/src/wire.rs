//! The wire to the provider, which sends a call and returns its answer. It is HTTP, except in
//! simulations, where answers are lost on purpose.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use reqwest::{Method, Url, header::CONTENT_TYPE, redirect};

/// Maximum number of bytes of an answer. A payment has a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Time that an idle connection is kept open. The provider keeps it open for longer.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// Time after which a silent connection that carries calls is pinged, and time limit for the ping's
/// answer. Both are short, because over HTTP/2 all calls share one connection.
const SILENCE: Duration = Duration::from_secs(1);

/// Sends each call to the provider once. The caller adds time-outs, repetitions and the circuit
/// breaker.
pub trait Wire: Send + Sync + 'static {
    /// Sends a call and waits for the answer's status and body. Even if the caller stops waiting,
    /// the call may take effect.
    fn send<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(u16, Vec<u8>), Lost>>;
}

/// One call. Its `Debug` leaves out the body, which may contain a card's token.
#[derive(Clone)]
pub struct Call {
    /// Path and query, relative to the provider's URL.
    pub path_and_query: String,
    /// Idempotency key and JSON body of a POST. `None` for a GET.
    pub post: Option<(String, Vec<u8>)>,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

/// The reason why a call has no answer.
#[derive(Debug)]
pub enum Lost {
    /// No connection could be opened: the call cannot have arrived.
    NotSent(String),
    /// The connection failed: the call may or may not have arrived.
    NoAnswer(String),
    /// An answer arrived, but it cannot be read.
    Unreadable(String),
}

impl Call {
    pub(crate) fn get(path_and_query: &str) -> Self {
        Self { path_and_query: path_and_query.to_owned(), post: None, traceparent: None }
    }

    pub(crate) fn post(path: &str, key: &str, body: Vec<u8>) -> Self {
        let post = Some((key.to_owned(), body));
        Self { path_and_query: path.to_owned(), post, traceparent: None }
    }

    /// Returns the call's HTTP method: `GET` or `POST`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        if self.post.is_some() { "POST" } else { "GET" }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.method()).field(&self.path_and_query).finish()
    }
}

/// The wire over HTTP.
pub(crate) struct Http {
    client: reqwest::Client,
    base: String,
}

impl Http {
    pub(crate) fn new(
        base: &Url,
        connect_timeout: Duration,
        idle_connections: usize,
        http2: bool,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder();
        let client = if http2 {
            client
                .http2_prior_knowledge()
                .http2_keep_alive_interval(SILENCE)
                .http2_keep_alive_timeout(SILENCE)
        } else {
            client
        };
        let client = client
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(idle_connections)
            .pool_idle_timeout(IDLE_CONNECTION)
            .build()?;
        Ok(Self { client, base: base.as_str().trim_end_matches('/').to_owned() })
    }

    async fn exchange(&self, call: &Call) -> Result<(u16, Vec<u8>), Lost> {
        let url = format!("{}{}", self.base, call.path_and_query);
        let mut request = match &call.post {
            None => self.client.request(Method::GET, url),
            Some((key, body)) => self
                .client
                .request(Method::POST, url)
                .header("Idempotency-Key", key)
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
        };
        if let Some(traceparent) = &call.traceparent {
            request = request.header("traceparent", traceparent);
        }
        // This fails, for example, for an id with a character that is not allowed in a URL.
        let request =
            request.build().map_err(|error| Lost::Unreadable(error.without_url().to_string()))?;
        let mut response = self.client.execute(request).await.map_err(|error| {
            if error.is_connect() {
                Lost::NotSent(error.without_url().to_string())
            } else {
                no_answer(error)
            }
        })?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Lost::Unreadable("an answer without an end".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), body))
    }
}

impl Wire for Http {
    fn send<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(u16, Vec<u8>), Lost>> {
        Box::pin(self.exchange(call))
    }
}

fn no_answer(error: reqwest::Error) -> Lost {
    Lost::NoAnswer(error.without_url().to_string())
}
