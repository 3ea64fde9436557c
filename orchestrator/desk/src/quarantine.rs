//! The operators' calls about the quarantine (semantics 8, 26).

use std::collections::HashMap;

use saga_core::{Signed, Timestamp};
use saga_engine::{
    Act, HandleRequest, Handling, Outcome, QuarantineFilter, QuarantineState, Quarantined,
    SagaReads,
};
use saga_identity::ACT;
use saga_operations::v1::{
    self as wire, GetQuarantinedRequest, GetQuarantinedResponse, ListQuarantinedRequest,
    ListQuarantinedResponse, QuarantineAct, QuarantineHandling, QuarantinedMessage,
    SettleQuarantinedRequest, SettleQuarantinedResponse, quarantine_server::Quarantine,
};
use tonic::{Request, Response, Status};

use crate::{
    Caller, Desk, describe::number, intervene::operator, page, redact::Shown, status, validate,
};

#[tonic::async_trait]
impl<R: SagaReads> Quarantine for Desk<R> {
    async fn list_quarantined(
        &self,
        request: Request<ListQuarantinedRequest>,
    ) -> Result<Response<ListQuarantinedResponse>, Status> {
        self.quarantined(request).await.map(Response::new)
    }

    async fn get_quarantined(
        &self,
        request: Request<GetQuarantinedRequest>,
    ) -> Result<Response<GetQuarantinedResponse>, Status> {
        self.look_inside(request).await.map(Response::new)
    }

    async fn settle_quarantined(
        &self,
        request: Request<SettleQuarantinedRequest>,
    ) -> Result<Response<SettleQuarantinedResponse>, Status> {
        self.settle(request).await.map(Response::new)
    }
}

/// Checks that a caller may see bodies. Otherwise returns the reason that is shown instead.
fn acting(caller: &Caller) -> Result<(), String> {
    if caller.principal().has(ACT) {
        return Ok(());
    }
    Err(format!("only callers with the role {ACT} see bodies"))
}

impl<R: SagaReads> Desk<R> {
    async fn quarantined(
        &self,
        request: Request<ListQuarantinedRequest>,
    ) -> Result<ListQuarantinedResponse, Status> {
        let request = request.into_inner();
        let bound = format!(
            "{:?}",
            ListQuarantinedRequest { page_size: 0, page_token: String::new(), ..request.clone() }
        );
        let bound = ["ListQuarantined", &bound];
        let ListQuarantinedRequest { state, saga_id, from, reason, .. } = request;
        let size = validate::page_size(request.page_size)?;
        let limit = usize::try_from(size).unwrap_or_default();
        let after = page::read(&bound, &request.page_token)?;
        let filter = QuarantineFilter {
            id: None,
            saga: match saga_id.as_str() {
                "" => None,
                id => Some(validate::id("saga_id", id)?),
            },
            from: validate::part("from", from)?,
            reason: validate::part("reason", reason)?,
            state: wanted(state)?,
            older_than_millis: validate::age("older_than_seconds", request.older_than_seconds)?,
            after: after.as_deref().map(cursor).transpose()?,
            limit: limit + 1,
        };
        let mut messages = self.messages(&filter).await?;
        // One entry more than requested was read. It shows whether there is a next page.
        let more = messages.len() > limit;
        messages.truncate(limit);
        let last = messages.last().filter(|_| more);
        let next_page_token = last
            .map(|last| page::write(&bound, &format!("{} {}", last.first_seen.0, last.id)))
            .unwrap_or_default();
        // The bodies are not read here, so any value that a reason quotes may be a token.
        let messages = messages.iter().map(|message| shown(message, quoted)).collect();
        Ok(ListQuarantinedResponse { messages, next_page_token })
    }

    async fn look_inside(
        &self,
        request: Request<GetQuarantinedRequest>,
    ) -> Result<GetQuarantinedResponse, Status> {
        let caller = Caller::of(&request)?;
        let GetQuarantinedRequest { message_id } = request.into_inner();
        let message = self.message(&message_id).await?;
        let body = Shown::of(&message.body);
        let text = |text: &str| quoted(&body.text(text));
        let mut headers = HashMap::from([
            ("message-id".to_owned(), text(&message.id)),
            ("saga-reason".to_owned(), text(&message.reason)),
            ("saga-from".to_owned(), text(&message.from)),
        ]);
        if let Some(reply_to) = &message.reply_to {
            headers.insert("reply-to".to_owned(), text(reply_to));
        }
        let described = shown(&message, text);
        // A body may have names of people in it.
        let (body, why_no_body) = match body.body.and_then(|body| acting(&caller).map(|()| body)) {
            Ok(body) => (body, String::new()),
            Err(why) => (String::new(), why),
        };
        Ok(GetQuarantinedResponse {
            message: Some(described),
            headers,
            body,
            why_no_body,
            acts: message.acts.iter().map(act).collect(),
        })
    }

    async fn settle(
        &self,
        request: Request<SettleQuarantinedRequest>,
    ) -> Result<SettleQuarantinedResponse, Status> {
        let by = operator(&request, false)?;
        let SettleQuarantinedRequest { message_id, handling, reason, expected_version, dry_run } =
            request.into_inner();
        let handling = match QuarantineHandling::try_from(handling).unwrap_or_default() {
            QuarantineHandling::Redrive => Handling::Redrive,
            QuarantineHandling::Discard => Handling::Discard,
            QuarantineHandling::Unspecified => {
                return Err(status::invalid_field("handling", "must be REDRIVE or DISCARD"));
            }
        };
        let reason = validate::operators_reason(&reason)?;
        let expected = u64::try_from(expected_version).unwrap_or_default();
        if expected == 0 {
            let why = "must be the message's version as it was seen, from 1";
            return Err(status::invalid_field("expected_version", why));
        }
        let request = HandleRequest {
            message: validate::message_id(&message_id)?.to_owned(),
            handling,
            expected_version: expected,
            signed: Signed { by, reason },
            dry_run,
        };
        let outcome = self.handle.requests.handle(request).await;
        let outcome =
            outcome.map_err(|error| status::of_request(&error, "message", &message_id, ""))?;
        let mut message = self.message(&message_id).await?;
        let (sent, saga, repeated) = match outcome {
            Outcome::Applied { version, sent, saga } => {
                if dry_run {
                    message.version = version;
                    message.state = match handling {
                        Handling::Redrive => QuarantineState::Redriven,
                        Handling::Discard => QuarantineState::Discarded,
                    };
                }
                (sent, saga, false)
            }
            Outcome::Repeated => {
                let sent = message.acts.last().map(|act| act.sent.clone());
                (sent.unwrap_or_default(), None, true)
            }
            Outcome::Moved { version } => {
                return Err(status::message_moved_on(&message_id, expected, version));
            }
            Outcome::Impossible(hindrance) => {
                return Err(status::not_possible_of_message(&message_id, &hindrance.to_string()));
            }
        };
        let body = Shown::of(&message.body);
        Ok(SettleQuarantinedResponse {
            message: Some(shown(&message, |text| quoted(&body.text(text)))),
            sent,
            saga: saga.map(|saga| self.described(&saga)),
            repeated,
            dry_run,
        })
    }

    async fn message(&self, id: &str) -> Result<Quarantined, Status> {
        let id = validate::message_id(id)?;
        let filter =
            QuarantineFilter { id: Some(id.to_owned()), limit: 1, ..QuarantineFilter::default() };
        let found = self.messages(&filter).await?.into_iter().next();
        found.ok_or_else(|| status::not_found("message", id))
    }

    async fn messages(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Status> {
        let found = self.reads.quarantined(filter).await;
        found.map_err(|failure| status::of_failure(&failure))
    }
}

/// Parses the state to list. `None` means all states.
fn wanted(state: i32) -> Result<Option<QuarantineState>, Status> {
    let unknown = |_| status::invalid_field("state", "is none that a message can have");
    Ok(match wire::QuarantineState::try_from(state).map_err(unknown)? {
        wire::QuarantineState::Unspecified => None,
        wire::QuarantineState::Open => Some(QuarantineState::Open),
        wire::QuarantineState::Redriven => Some(QuarantineState::Redriven),
        wire::QuarantineState::Discarded => Some(QuarantineState::Discarded),
    })
}

/// Parses the cursor of a page.
fn cursor(text: &str) -> Result<(Timestamp, String), Status> {
    let parts = text.split_once(' ').and_then(|(at, id)| Some((at.parse().ok()?, id)));
    let (at, id) = parts.ok_or_else(|| status::invalid_field("page_token", "is none of ours"))?;
    Ok((Timestamp(at), id.to_owned()))
}

/// Describes a message without its body. `text` removes what must not be shown from texts that the
/// message's sender may have chosen.
fn shown(message: &Quarantined, text: impl Fn(&str) -> String) -> QuarantinedMessage {
    let command = message.command();
    QuarantinedMessage {
        message_id: message.id.clone(),
        version: number(message.version),
        state: state(message.state).into(),
        saga_id: command.as_ref().map(|command| command.saga.to_string()).unwrap_or_default(),
        command: command.map(|c| format!("{}/{}", c.step, c.direction)).unwrap_or_default(),
        reason: text(&message.reason),
        from: text(&message.from),
        first_seen_micros: message.first_seen.0,
        last_seen_micros: message.last_seen.0,
        copies: number(message.copies),
    }
}

fn act(act: &Act) -> QuarantineAct {
    QuarantineAct {
        version: number(act.version),
        at_micros: act.at.0,
        state: state(act.state).into(),
        by: act.signed.by.clone(),
        reason: act.signed.reason.clone(),
        sent: act.sent.clone(),
    }
}

fn state(state: QuarantineState) -> wire::QuarantineState {
    match state {
        QuarantineState::Open => wire::QuarantineState::Open,
        QuarantineState::Redriven => wire::QuarantineState::Redriven,
        QuarantineState::Discarded => wire::QuarantineState::Discarded,
    }
}

/// Removes a quoted value from a reason. serde's errors quote a value of the body in quotation
/// marks (`invalid type: string "…"`), and that value may be a token.
fn quoted(text: &str) -> String {
    let Some((before, rest)) = text.split_once("string \"") else { return text.to_owned() };
    let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
    format!("{before}string \"…\"{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_reason_quotes_is_left_out() {
        let reason = r#"not this type: invalid type: string "tok_x", expected a map at line 1"#;
        let shown = quoted(reason);
        assert_eq!(shown, r#"not this type: invalid type: string "…", expected a map at line 1"#);
        assert_eq!(quoted("no string"), "no string");
        assert_eq!(quoted(r#"string "tok_x"#), r#"string "…""#);
    }

    #[test]
    fn a_page_goes_on_where_it_was_also_after_a_strange_id() {
        let (at, id) = cursor("17 a b\tc").expect("ours");
        assert_eq!((at, id.as_str()), (Timestamp(17), "a b\tc"));
        assert!(cursor("x").is_err() && cursor("x y").is_err());
    }
}
