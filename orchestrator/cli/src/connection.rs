//! The options for the system's address and for the time limit of a call.

use std::time::Duration;

use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
};

use crate::{console::Console, failure::Failure};

/// Time limit for connecting. After that the address counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of pings on a quiet connection. A watch may be silent for minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Largest page of a list that the contract allows.
const LARGEST_PAGE: i32 = 500;

/// The options that every command has.
#[derive(clap::Args)]
pub struct Connection {
    /// Where the orchestrator listens
    #[arg(long, env = "SAGA_SERVER", default_value = "http://127.0.0.1:7400", value_name = "URL", value_parser = server)]
    pub server: Box<Endpoint>,
    /// Print JSON for programs: one object, or one per line for a stream. Messages are in protobuf's
    /// JSON (a field at its default is left out); errors are JSON too, on stderr
    #[arg(long)]
    pub json: bool,
    /// How long one call may take
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

impl Connection {
    /// Returns a channel that connects at the first call. If the server is unreachable, that call
    /// fails with UNAVAILABLE.
    pub fn channel(&self) -> Channel {
        self.server.connect_lazy()
    }

    /// Wraps a message in a request with this connection's deadline, which the server gets too.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.timeout));
        request
    }
}

/// The options of a list.
#[derive(clap::Args)]
pub struct Page {
    /// How many to list
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=i64::from(LARGEST_PAGE)))]
    limit: i32,
    /// List every one, page by page (with --json: a page per line)
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Page {
    /// Returns the number of entries to request at once.
    pub fn size(&self) -> i32 {
        if self.all { LARGEST_PAGE } else { self.limit }
    }

    /// Returns true if there is a next page that is to be listed. If there is one that is not to be
    /// listed, prints a note.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn goes_on(
        &self,
        next_page_token: &str,
        console: &mut Console<'_>,
    ) -> Result<bool, Failure> {
        if next_page_token.is_empty() || self.all {
            return Ok(!next_page_token.is_empty());
        }
        if !console.json {
            console.note("There are more: --limit N, or --all.")?;
        }
        Ok(false)
    }
}

/// Parses a server's address. The result is boxed because an endpoint is large and commands are
/// moved several times.
///
/// # Errors
/// The mistake, as a sentence.
pub fn server(text: &str) -> Result<Box<Endpoint>, String> {
    let uri: Uri = text.parse().map_err(|e| format!("not a URL: {e}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(Box::new(
            Endpoint::from(uri)
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true),
        )),
        _ => Err("it begins with http:// and names a host, like http://127.0.0.1:7400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_address_with_a_host_is_a_server() {
        assert!(server("http://127.0.0.1:7400").is_ok());
        assert!(server("http://orchestrator.internal").is_ok());
        for wrong in ["127.0.0.1:7400", "https://127.0.0.1:7400", "http://", "", "amqp://h", "h t"]
        {
            assert!(server(wrong).is_err(), "{wrong:?}");
        }
    }
}
