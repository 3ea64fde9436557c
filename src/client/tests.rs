//! Runs the commands against a server in this process, over real gRPC, with scripted answers.

use clap::Parser as _;
use saga_test_support::scripted_shop::open;
use serde_json::Value;
use tokio::net::TcpListener;

/// Exit code and output of a command that was run.
pub(super) struct Ran {
    pub(super) code: u8,
    pub(super) out: String,
    pub(super) err: String,
}

#[derive(clap::Parser)]
struct Line {
    #[command(subcommand)]
    command: super::Command,
}

impl Line {
    async fn run(self, out: &mut dyn std::io::Write, err: &mut dyn std::io::Write) -> u8 {
        let json = self.command.json();
        saga_cli::run_on(json, async |console| self.command.ask(console).await, out, err).await
    }
}

pub(super) async fn saga(server: &str, args: &[&str]) -> Ran {
    let line = Line::try_parse_from(["saga"].iter().chain(args).chain(&["--server", server]))
        .expect("a test's command line is valid");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = line.run(&mut out, &mut err).await;
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code, out: text(out), err: text(err) }
}

const PLACE: [&str; 9] =
    ["place", "--customer", "ada", "--item", "teapot=2", "--item", "cup=6", "--key", "k-1"];

#[tokio::test]
async fn an_order_is_placed_as_it_was_typed_and_its_end_is_told() {
    let (shop, server) = open().await;
    let ran = saga(&server, &[&PLACE[..], &["--expect", "12.34EUR"]].concat()).await;
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "Order o-1 is confirmed.\n", "")
    );
    let placed = shop.placed.lock().expect("the server is idle").remove(0);
    assert_eq!(
        (placed.idempotency_key.as_str(), placed.customer.as_str(), placed.wait),
        ("k-1", "ada", true)
    );
    assert_eq!(placed.payment_token, "tok_approved");
    assert_eq!(placed.expected_total, Some(saga_proto::Money::new(1234, "EUR")));
    let lines: Vec<_> =
        placed.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(lines, [("teapot", 2), ("cup", 6)]);
}

#[tokio::test]
async fn an_accepted_order_is_success_and_a_rejected_one_is_not() {
    let (_shop, server) = open().await;
    let accepted = saga(&server, &[&PLACE[..], &["--no-wait"]].concat()).await;
    assert_eq!(
        (accepted.code, accepted.out.as_str()),
        (0, "Order o-1 is accepted. See what happens: saga watch o-1\n")
    );
    let declined = saga(&server, &[&PLACE[..], &["--token", "tok_declined"]].concat()).await;
    assert_eq!(
        (declined.code, declined.out.as_str()),
        (1, "Order o-1 was rejected: the card was declined (CARD_DECLINED)\n")
    );
}

#[tokio::test]
async fn programs_get_one_object_with_the_key() {
    let (shop, server) = open().await;
    let ran = saga(&server, &["place", "--customer", "ada", "--item", "teapot=2", "--json"]).await;
    let answer: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!((ran.code, ran.err.as_str(), ran.out.lines().count()), (0, "", 1));
    assert_eq!(
        (&answer["orderId"], &answer["status"]),
        (&Value::from("o-1"), &Value::from("ORDER_STATUS_CONFIRMED"))
    );
    let sent = shop.placed.lock().expect("the server is idle").remove(0).idempotency_key;
    assert_eq!(answer["idempotencyKey"], sent);
    assert_eq!(sent.len(), 36, "a random UUID: {sent}");
}

#[tokio::test]
async fn a_person_is_told_the_random_key_before_the_answer() {
    let (shop, server) = open().await;
    let ran = saga(&server, &["place", "--customer", "hasty", "--item", "teapot=2"]).await;
    let key = shop.placed.lock().expect("the server is idle").remove(0).idempotency_key;
    assert_eq!(
        ran.err,
        format!(
            "Key {key} (to repeat this order safely: --key {key})\nsaga: RESOURCE_EXHAUSTED: too many orders in flight\n  try again in 0.250 s\n"
        )
    );
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
}

#[tokio::test]
async fn a_refusal_names_the_fields_for_people_and_for_programs() {
    let (_shop, server) = open().await;
    let args = ["place", "--customer", "nobody", "--item", "teapot=2", "--key", "k-1"];
    let ran = saga(&server, &args).await;
    assert_eq!(
        ran.err,
        "saga: INVALID_ARGUMENT: the request is not valid\n  customer: is not known here\n"
    );
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let ran = saga(&server, &[&args[..], &["--json"]].concat()).await;
    let answer: Value = serde_json::from_str(&ran.err).expect("one JSON object");
    let error = &answer["error"];
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(
        (&error["code"], &error["retry"]),
        (&Value::from("INVALID_ARGUMENT"), &Value::from(false))
    );
    assert_eq!(error["fieldViolations"][0]["field"], "customer");
    assert_eq!(error["idempotencyKey"], "k-1");

    let ran = saga(&server, &["cancel", "o-1"]).await;
    assert_eq!(
        ran.err,
        "saga: FAILED_PRECONDITION: the payment has been captured\n  CAPTURED o-1: return the order instead\n"
    );
    assert_eq!(ran.code, 1);
}

#[tokio::test]
async fn a_return_is_waited_for_under_one_key_and_its_end_is_the_exit_code() {
    let (shop, server) = open().await;
    let part = ["return", "o-1", "--line", "teapot=1", "--reason", "it leaks", "--json"];
    let ran = saga(&server, &part).await;
    let answer: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!((ran.code, &answer["details"]["status"]), (0, &"RETURN_STATUS_DONE".into()));
    let asked = shop.returned.lock().expect("no test panics while it holds this").clone();
    assert_eq!(asked.len(), 2, "asked again while it was pending");
    assert_eq!(asked[0], asked[1], "under the same key");
    assert_eq!(answer["idempotencyKey"], asked[0].idempotency_key.as_str());
    assert_eq!((asked[0].lines[0].sku.as_str(), asked[0].reason.as_str()), ("teapot", "it leaks"));

    let ran = saga(&server, &["return", "o-2", "--key", "k-2"]).await;
    assert_eq!((ran.code, ran.out.contains("was rejected")), (1, true), "{}", ran.out);
    let ran = saga(&server, &["return", "o-1", "--key", "k-3", "--no-wait"]).await;
    assert_eq!((ran.code, ran.out.contains("is accepted")), (0, true), "{}", ran.out);
}

#[tokio::test]
async fn a_watch_survives_a_restart_and_tells_everything_once() {
    let (_shop, server) = open().await;
    let ran = saga(&server, &["watch", "o-1"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            0,
            "  +0.000 s  PENDING    accepted\n  +1.000 s  PENDING    stock is reserved\n  +2.000 s  CONFIRMED  confirmed\n"
        )
    );
    let ran = saga(&server, &["watch", "o-1", "--json"]).await;
    let versions: Vec<Value> = ran
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("an object a line")["version"].clone()
        })
        .collect();
    assert_eq!(versions, ["1", "2", "3"]);
    assert_eq!(saga(&server, &["watch", "o-2"]).await.code, 1);
}

#[tokio::test]
async fn an_order_that_outlasts_the_servers_patience_is_waited_for() {
    let (_shop, server) = open().await;
    let ran =
        saga(&server, &["place", "--customer", "patient", "--item", "teapot=2", "--key", "k-1"])
            .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "Order o-1 is confirmed.\n"));
}

#[tokio::test]
async fn a_server_that_is_not_there_hangs_up_or_is_silent_may_be_tried_again() {
    let (_shop, server) = open().await;
    let ran = saga(
        &server,
        &["place", "--customer", "sleepy", "--item", "teapot=2", "--key", "k", "--timeout", "1"],
    )
    .await;
    assert_eq!(
        (ran.code, ran.err.starts_with("saga: DEADLINE_EXCEEDED: ")),
        (2, true),
        "{}",
        ran.err
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let server = format!("http://{}", listener.local_addr().expect("it is bound"));
    let hangs_up = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let ran = saga(&server, &["order", "o-1"]).await;
    assert_eq!((ran.code, ran.err.starts_with("saga: UNAVAILABLE: ")), (2, true), "{}", ran.err);
    hangs_up.abort();
    let _ = hangs_up.await;
    let ran = saga(&server, &["order", "o-1"]).await;
    assert_eq!((ran.code, ran.err.starts_with("saga: UNAVAILABLE: ")), (2, true), "{}", ran.err);
}

#[tokio::test]
async fn a_list_is_one_page_or_all_of_them() {
    let (_shop, server) = open().await;
    let ran = saga(&server, &["orders", "--customer", "ada", "--status", "pending"]).await;
    assert_eq!(
        ran.out,
        "ORDER  STATUS   CUSTOMER  LINES  TOTAL  CREATED  WHY\no-1    PENDING  ada                     -\n"
    );
    assert_eq!(ran.err, "There are more: --limit N, or --all.\n");
    let ran = saga(&server, &["orders", "--all", "--json"]).await;
    let pages: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(pages.len(), 2);
    assert_eq!(pages[1]["orders"][0]["orderId"], "o-2");
    assert_eq!(pages[1]["nextPageToken"], "");
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_error() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (_shop, server) = open().await;
    let line = Line::try_parse_from(["saga", "orders", "--server", &server])
        .expect("the command line is valid");
    let mut err = Vec::new();
    let code = line.run(&mut Closed, &mut err).await;
    assert_eq!((code, err), (0, vec![]));
}

#[test]
fn the_command_line_is_consistent_and_every_command_shows_an_example() {
    use clap::CommandFactory as _;
    let mut line = Line::command();
    line.build();
    line.clone().debug_assert();
    for command in line.get_subcommands().filter(|command| command.get_name() != "help") {
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            examples.contains(&format!("saga {}", command.get_name())),
            "{}",
            command.get_name()
        );
    }
}
