//! Tests the quarantine's commands against a server that records the calls.

use std::sync::{Arc, Mutex};

use saga_operations::v1::{
    GetQuarantinedRequest, GetQuarantinedResponse, ListQuarantinedRequest, ListQuarantinedResponse,
    QuarantineAct, QuarantineHandling, QuarantineState, QuarantinedMessage, Saga, SagaState,
    SettleQuarantinedRequest, SettleQuarantinedResponse,
    quarantine_server::{Quarantine, QuarantineServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use clap::Parser as _;

/// Exit code and output of a command that was run.
struct Ran {
    code: u8,
    out: String,
    err: String,
}

#[derive(clap::Parser)]
struct Line {
    #[command(subcommand)]
    command: crate::Command,
}

async fn saga(server: &str, args: &[&str]) -> Ran {
    let line = Line::try_parse_from(["saga"].iter().chain(args).chain(&["--server", server]))
        .expect("a test's command line is valid");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let json = line.command.json();
    let code =
        crate::run_on(json, async |console| line.command.ask(console).await, &mut out, &mut err);
    let code = code.await;
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code, out: text(out), err: text(err) }
}

#[derive(Clone, Default)]
struct Desk {
    listed: Arc<Mutex<Vec<ListQuarantinedRequest>>>,
    settled: Arc<Mutex<Vec<SettleQuarantinedRequest>>>,
}

fn message(state: QuarantineState, version: i64) -> QuarantinedMessage {
    QuarantinedMessage {
        message_id: "s-1/reserve-stock/action".to_owned(),
        version,
        state: state.into(),
        saga_id: "s-1".to_owned(),
        command: "reserve-stock/action".to_owned(),
        reason: "unknown type".to_owned(),
        from: "saga.commands.inventory".to_owned(),
        first_seen_micros: 1_795_493_572_000_000,
        last_seen_micros: 1_795_493_573_000_000,
        copies: 3,
    }
}

#[tonic::async_trait]
impl Quarantine for Desk {
    async fn list_quarantined(
        &self,
        request: Request<ListQuarantinedRequest>,
    ) -> Result<Response<ListQuarantinedResponse>, Status> {
        let request = request.into_inner();
        let more = request.page_token.is_empty();
        self.listed.lock().expect("sound").push(request);
        Ok(Response::new(ListQuarantinedResponse {
            messages: vec![message(QuarantineState::Open, 3)],
            next_page_token: if more { "on".to_owned() } else { String::new() },
        }))
    }

    async fn get_quarantined(
        &self,
        _: Request<GetQuarantinedRequest>,
    ) -> Result<Response<GetQuarantinedResponse>, Status> {
        let act = QuarantineAct {
            version: 2,
            at_micros: 1_795_493_574_000_000,
            state: QuarantineState::Redriven.into(),
            by: "anonymous".to_owned(),
            reason: "too early".to_owned(),
            sent: vec!["reserve-stock/action #1".to_owned()],
        };
        Ok(Response::new(GetQuarantinedResponse {
            message: Some(message(QuarantineState::Open, 3)),
            headers: [("reply-to".to_owned(), "orchestrator".to_owned())].into(),
            body: "[1]".to_owned(),
            why_no_body: String::new(),
            acts: vec![act],
        }))
    }

    async fn settle_quarantined(
        &self,
        request: Request<SettleQuarantinedRequest>,
    ) -> Result<Response<SettleQuarantinedResponse>, Status> {
        let request = request.into_inner();
        let redrive = request.handling() == QuarantineHandling::Redrive;
        let state = if redrive { QuarantineState::Redriven } else { QuarantineState::Discarded };
        let saga = Saga {
            saga_id: "s-1".to_owned(),
            state: SagaState::Running.into(),
            version: 7,
            ..Saga::default()
        };
        let answer = SettleQuarantinedResponse {
            message: Some(message(state, request.expected_version + 1)),
            sent: if redrive { vec!["reserve-stock/action #1".to_owned()] } else { vec![] },
            saga: redrive.then_some(saga),
            repeated: false,
            dry_run: request.dry_run,
        };
        self.settled.lock().expect("sound").push(request);
        Ok(Response::new(answer))
    }
}

async fn open() -> (Desk, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let server = format!("http://{}", listener.local_addr().expect("it is bound"));
    let desk = Desk::default();
    let serving = Server::builder()
        .add_service(QuarantineServer::new(desk.clone()))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(serving);
    (desk, server)
}

#[tokio::test]
async fn a_list_is_filtered_as_it_was_typed_and_goes_on_page_by_page() {
    let (desk, server) = open().await;
    let args = [
        "quarantine",
        "--needs-me",
        "--saga",
        "s-1",
        "--from",
        "inventory",
        "--because",
        "type",
        "--older-than",
        "60",
        "--all",
    ];
    let ran = saga(&server, &args).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let line = "s-1/reserve-stock/action  3        OPEN   3       2026-11-24 04:12:53.000 UTC  saga.commands.inventory  unknown type";
    assert_eq!(ran.out.matches(line).count(), 2, "{}", ran.out);
    let listed = desk.listed.lock().expect("sound").clone();
    assert_eq!((listed.len(), listed[1].page_token.as_str()), (2, "on"));
    let first = &listed[0];
    assert_eq!((first.state(), first.saga_id.as_str()), (QuarantineState::Open, "s-1"));
    assert_eq!((first.from.as_str(), first.reason.as_str()), ("inventory", "type"));
    assert_eq!(first.older_than_seconds, 60);
}

#[tokio::test]
async fn one_message_is_shown_with_its_headers_its_body_and_what_was_done() {
    let (_, server) = open().await;
    let ran = saga(&server, &["quarantine", "s-1/reserve-stock/action"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for part in [
        "State       OPEN, at version 3",
        "RE-DRIVEN  anonymous  too early  reserve-stock/action #1",
        "reply-to  orchestrator",
        "\n\n[1]\n",
    ] {
        assert!(ran.out.contains(part), "{part} is not in\n{}", ran.out);
    }
}

#[tokio::test]
async fn a_re_drive_is_tried_dry_and_done_at_the_version_that_was_seen() {
    let (desk, server) = open().await;
    let id = "s-1/reserve-stock/action";
    let args = ["quarantine", "re-drive", id, "--reason", "it is out"];
    let ran = saga(&server, &[&args[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        ran.out,
        "Nothing is done. The message would be RE-DRIVEN, at version 4.\n  \
         its saga s-1 would be RUNNING, at version 7\n  \
         would be sent: reserve-stock/action #1\n"
    );
    let ran = saga(&server, &[&args[..], &["--version", "9"]].concat()).await;
    assert!(ran.out.starts_with("Done. The message is RE-DRIVEN, at version 10."), "{}", ran.out);
    let ran = saga(&server, &["quarantine", "discard", id, "--reason", "a stranger"]).await;
    assert_eq!(ran.out, "Done. The message is DISCARDED, at version 4.\n");
    let settled = desk.settled.lock().expect("sound").clone();
    let asked: Vec<_> = settled
        .iter()
        .map(|s| (s.handling(), s.expected_version, s.reason.as_str(), s.dry_run))
        .collect();
    assert_eq!(
        asked,
        [
            (QuarantineHandling::Redrive, 3, "it is out", true),
            (QuarantineHandling::Redrive, 9, "it is out", false),
            (QuarantineHandling::Discard, 3, "a stranger", false),
        ]
    );
}
