//! `saga health`: asks whether a role serves, as a container engine does every few seconds.

use std::time::Duration;

use serde_json::json;
use tonic::{Status, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    connection::server,
    console::Console,
    failure::{Failure, Verdict},
};

const EXAMPLES: &str = "\
Examples:
  saga health
  saga health http://127.0.0.1:7402
  saga health http://127.0.0.1:7404/health

Exit code 0 says that it serves, 1 that it does not, 2 that nobody is there.";

/// Asks a role whether it serves: by gRPC's health service, or with a path in the URL by HTTP GET.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Health {
    /// Where the role listens; one that speaks no gRPC answers under a path, such as /health
    #[arg(default_value = "http://127.0.0.1:7400", value_name = "URL", value_parser = server)]
    url: Box<Endpoint>,
    /// Print JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// How long the answer may take
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

impl Health {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let limit = Duration::from_secs(self.timeout);
        let asking = async {
            match self.url.uri().path() {
                "" | "/" => by_grpc(&self.url).await,
                _ => by_http(&self.url).await,
            }
        };
        let status = tokio::time::timeout(limit, asking)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time").into()))?;
        if console.json {
            console.object(&json!({ "status": status }))?;
        } else {
            console.say(&status)?;
        }
        Ok(if status == SERVING { Verdict::Done } else { Verdict::Refused })
    }
}

/// gRPC's name for the status of a server that works.
const SERVING: &str = "SERVING";

/// Asks for the status of the server as a whole.
async fn by_grpc(endpoint: &Endpoint) -> Result<String, Failure> {
    let mut client = HealthClient::new(endpoint.connect_lazy());
    let answer = client.check(HealthCheckRequest::default()).await?.into_inner();
    let status = ServingStatus::try_from(answer.status).unwrap_or(ServingStatus::Unknown);
    Ok(status.as_str_name().to_owned())
}

async fn by_http(endpoint: &Endpoint) -> Result<String, Failure> {
    let answer = reqwest::get(endpoint.uri().to_string()).await;
    let answer = answer.map_err(|error| Status::unavailable(error.without_url().to_string()))?;
    let serves = answer.status().is_success();
    Ok(if serves { SERVING.to_owned() } else { format!("NOT_SERVING ({})", answer.status()) })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tonic::transport::{Server, server::TcpIncoming};

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        health: Health,
    }

    async fn asked(url: &str) -> (Result<Verdict, String>, String) {
        let line = Line::parse_from(["health", "--timeout", "10", url]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let verdict = line.health.ask(&mut Console::new(false, &mut out, &mut err)).await;
        let said = String::from_utf8(out).expect("UTF-8").trim_end().to_owned();
        (verdict.map_err(|failure| failure.to_string()), said)
    }

    #[tokio::test]
    async fn a_role_says_by_grpc_whether_it_serves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (health, service) = tonic_health::server::health_reporter();
        let serving =
            Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        assert_eq!(asked(&url).await, (Ok(Verdict::Done), "SERVING".to_owned()));
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        assert_eq!(asked(&url).await, (Ok(Verdict::Refused), "NOT_SERVING".to_owned()));
    }

    #[tokio::test]
    async fn a_path_is_asked_for_by_http() {
        for (answer, expected) in [("200 OK", Verdict::Done), ("503 Down", Verdict::Refused)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}/health", listener.local_addr().expect("it is bound"));
            let served = tokio::spawn(async move {
                let (mut peer, _) = listener.accept().await.expect("somebody comes");
                let mut request = [0; 1024];
                let read = peer.read(&mut request).await.expect("a request");
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                peer.write_all(answer.as_bytes()).await.expect("answered");
                request[..read].to_vec()
            });
            let (verdict, said) = asked(&url).await;
            assert_eq!(verdict, Ok(expected), "{said}");
            let request = served.await.expect("no panic");
            assert!(request.starts_with(b"GET /health HTTP/1.1"), "{request:?}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_a_failure_and_not_a_no() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        for path in ["", "/health"] {
            let (verdict, said) = asked(&format!("http://{address}{path}")).await;
            let failure = verdict.expect_err("nobody listens");
            assert!(failure.starts_with("UNAVAILABLE") && said.is_empty(), "{failure}");
        }
    }
}
