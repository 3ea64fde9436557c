//! The operators' calls about messages that could not be handled.

use saga_core::SagaId;
use saga_engine::NewQuarantined;
use saga_operations::v1::{
    GetQuarantinedRequest, GetSagaRequest, ListQuarantinedRequest, QuarantineHandling,
    QuarantineState, SettleQuarantinedRequest, SettleQuarantinedResponse,
    quarantine_client::QuarantineClient,
};
use saga_taps::SagaTap as _;
use tonic::{Code, Status, transport::Channel};

use crate::world::{Answer, World, fields, reason};

fn desk(world: &World) -> QuarantineClient<Channel> {
    QuarantineClient::new(world.channel.clone())
}

async fn keep(world: &World, id: &str, body: &str) {
    let message = NewQuarantined {
        id: id.to_owned(),
        reason: r#"unknown type: string "tok_visa""#.to_owned(),
        from: "saga.commands.inventory".to_owned(),
        reply_to: Some("orchestrator".to_owned()),
        body: body.as_bytes().to_vec(),
    };
    world.store.quarantine(&[message]).await.expect("kept");
}

/// Places an order whose saga waits for a reply to `reserve-stock` that never comes, and puts that
/// command into the quarantine. Returns the ids of the saga and of the command.
async fn waiting(world: &World, key: &str) -> (String, String) {
    world.broker.answer("reserve-stock/action", Answer::Hold);
    let saga = world.placed(key).await;
    let asked = |w: &World| matches!(w.saga(&saga).steps[1], saga_core::StepState::Open(_));
    world.until("it is asked for", asked).await;
    let command = format!("{saga}/reserve-stock/action");
    keep(world, &command, r#"[{"data":{"paymentToken":"tok_visa","orderId":"7"}}]"#).await;
    (saga, command)
}

fn asked(id: &str, handling: QuarantineHandling, version: i64) -> SettleQuarantinedRequest {
    SettleQuarantinedRequest {
        message_id: id.to_owned(),
        handling: handling.into(),
        reason: "the test wants it so".to_owned(),
        expected_version: version,
        dry_run: false,
    }
}

async fn settle(
    world: &World,
    request: SettleQuarantinedRequest,
) -> Result<SettleQuarantinedResponse, Status> {
    desk(world).settle_quarantined(request).await.map(tonic::Response::into_inner)
}

/// Tries to re-drive a message, which must fail, and returns the reason.
async fn refused(world: &World, id: &str) -> String {
    let status = settle(world, asked(id, QuarantineHandling::Redrive, 1)).await;
    let status = status.expect_err("it is not possible");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "NOT_POSSIBLE")
    );
    status.message().to_owned()
}

#[tokio::test]
async fn a_command_that_is_waited_for_is_re_driven_once_and_both_histories_say_so() {
    let world = World::new().await;
    let (saga, command) = waiting(&world, "k").await;
    let before = world.saga(&saga).version;
    let redrive = asked(&command, QuarantineHandling::Redrive, 1);
    let dry = SettleQuarantinedRequest { dry_run: true, ..redrive.clone() };
    let would = settle(&world, dry).await.expect("possible");
    assert_eq!((would.sent, would.dry_run), (vec!["reserve-stock/action #1".to_owned()], true));
    assert_eq!(would.message.expect("set").state(), QuarantineState::Redriven);
    assert_eq!(world.saga(&saga).version, before, "a dry run has written");
    let marked = world.store.count("SELECT count(*) FROM quarantine WHERE version <> 1");
    assert_eq!(marked, 0, "a dry run has marked");

    world.broker.answer("reserve-stock/action", Answer::Done);
    let did = settle(&world, redrive.clone()).await.expect("possible");
    assert!(!did.repeated && did.message.expect("set").version == 2);
    assert_eq!(world.until_ended(&saga).await.phase.name(), "completed");
    for version in [1, 2] {
        let again = SettleQuarantinedRequest { expected_version: version, ..redrive.clone() };
        let again = settle(&world, again).await.expect("the same");
        assert!(again.repeated, "done twice");
        assert_eq!(again.sent, ["reserve-stock/action #1"], "what was sent then");
    }
    let request = GetSagaRequest { saga_id: saga };
    let history = world.sagas().get_saga(request).await.expect("known").into_inner().history;
    let told = history.iter().filter(|t| t.what.contains("re-driven from the quarantine"));
    assert_eq!(told.count(), 1);
    let request = GetQuarantinedRequest { message_id: command };
    let shown = desk(&world).get_quarantined(request).await.expect("known").into_inner();
    let acts: Vec<_> =
        shown.acts.iter().map(|a| (a.by.as_str(), a.reason.as_str(), a.state())).collect();
    assert_eq!(acts, [("anonymous", "the test wants it so", QuarantineState::Redriven)]);
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_sent_and_is_told_what_to_do_instead() {
    let world = World::new().await;
    let (saga, command) = waiting(&world, "k").await;
    keep(&world, "unnamed", "no JSON").await;
    assert!(refused(&world, "unnamed").await.contains("names no command"));
    let nobodys = format!("{}/reserve-stock/action", SagaId(uuid::Uuid::now_v7()));
    keep(&world, &nobodys, "[]").await;
    assert!(refused(&world, &nobodys).await.contains("no saga of its id"));
    let settled = format!("{saga}/create-order/action");
    keep(&world, &settled, "[]").await;
    assert!(refused(&world, &settled).await.contains("does not wait for this command"));
    // For a quarantined reply, the command that it answers is sent again.
    let reply = format!("{command}/reply");
    keep(&world, &reply, "[]").await;
    let dry =
        SettleQuarantinedRequest { dry_run: true, ..asked(&reply, QuarantineHandling::Redrive, 1) };
    assert_eq!(settle(&world, dry).await.expect("possible").sent, ["reserve-stock/action #1"]);
    world.store.raise_watermark(saga.parse::<SagaId>().expect("an id").following());
    assert!(refused(&world, &command).await.contains("older than sagas are kept"));
    let status = settle(&world, asked("nowhere", QuarantineHandling::Redrive, 1)).await;
    assert_eq!(status.expect_err("it is not there").code(), Code::NotFound);
}

#[tokio::test]
async fn a_message_is_discarded_once_and_only_as_it_was_seen_and_another_copy_opens_it() {
    let world = World::new().await;
    keep(&world, "unnamed", "no JSON").await;
    keep(&world, "unnamed", "no JSON").await;
    let discard = asked("unnamed", QuarantineHandling::Discard, 1);
    let status = settle(&world, discard.clone()).await.expect_err("another copy came");
    assert_eq!(reason(&status), "MESSAGE_MOVED_ON");
    let discard = SettleQuarantinedRequest { expected_version: 2, ..discard };
    let did = settle(&world, discard.clone()).await.expect("possible");
    assert_eq!(did.message.expect("set").state(), QuarantineState::Discarded);
    assert!(settle(&world, discard).await.expect("the same").repeated);
    let status = settle(&world, asked("unnamed", QuarantineHandling::Redrive, 3)).await;
    assert!(status.expect_err("discarded").message().contains("it was discarded"));
    let open = ListQuarantinedRequest {
        state: QuarantineState::Open.into(),
        ..ListQuarantinedRequest::default()
    };
    let found = desk(&world).list_quarantined(open.clone()).await.expect("a page").into_inner();
    assert!(found.messages.is_empty());
    keep(&world, "unnamed", "no JSON").await;
    let found = desk(&world).list_quarantined(open).await.expect("a page").into_inner();
    assert_eq!((found.messages[0].copies, found.messages[0].version), (3, 4));
}

#[tokio::test]
async fn a_look_inside_shows_headers_and_body_and_no_payment_token() {
    let world = World::new().await;
    let (saga, command) = waiting(&world, "k").await;
    let request = GetQuarantinedRequest { message_id: command };
    let shown = desk(&world).get_quarantined(request).await.expect("known").into_inner();
    assert!(shown.body.contains(r#""orderId": "7""#), "{}", shown.body);
    assert_eq!(shown.headers["reply-to"], "orchestrator");
    assert_eq!(shown.message.as_ref().expect("set").saga_id, saga);
    let page = desk(&world).list_quarantined(ListQuarantinedRequest::default()).await;
    for text in [format!("{shown:?}"), format!("{page:?}")] {
        assert!(!text.contains("tok_visa"), "{text}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_and_pages_through_everything_once() {
    let world = World::new().await;
    for number in 0..5 {
        keep(&world, &format!("m{number}"), "").await;
    }
    let mut request = ListQuarantinedRequest { page_size: 2, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = desk(&world).list_quarantined(request.clone()).await.expect("a page");
        let page = page.into_inner();
        seen.extend(page.messages.into_iter().map(|message| message.message_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, ["m4", "m3", "m2", "m1", "m0"]);
    let none = ListQuarantinedRequest { from: "payment".to_owned(), ..Default::default() };
    let page = desk(&world).list_quarantined(none.clone()).await.expect("a page").into_inner();
    assert!(page.messages.is_empty());
    let foreign = ListQuarantinedRequest { page_token: request.page_token, ..none };
    let status = desk(&world).list_quarantined(foreign).await.expect_err("another filter");
    assert_eq!(fields(&status), ["page_token"]);
    let mut nameless = asked("m1", QuarantineHandling::Discard, 1);
    nameless.reason = " ".to_owned();
    assert_eq!(fields(&settle(&world, nameless).await.expect_err("no reason")), ["reason"]);
}

#[tokio::test]
async fn who_only_views_sees_no_body() {
    let shown_to = async |role: saga_identity::Role| {
        let roles = [role].into_iter().collect();
        let world = World::with(|settings| settings.desk.anonymous.here = roles).await;
        keep(&world, "m", r#"{"name":"Ada"}"#).await;
        let request = GetQuarantinedRequest { message_id: "m".to_owned() };
        desk(&world).get_quarantined(request).await.expect("known").into_inner()
    };
    let viewed = shown_to(saga_identity::VIEW).await;
    assert!(!format!("{viewed:?}").contains("Ada"));
    assert_eq!(viewed.why_no_body, "only callers with the role act see bodies");
    let acting = shown_to(saga_identity::ACT).await;
    assert!(acting.body.contains("Ada") && acting.why_no_body.is_empty());
}
