//! `saga quarantine`: the operators' commands about messages that could not be handled.

use clap::builder::NonEmptyStringValueParser;
use saga_operations::v1::{
    GetQuarantinedRequest, GetQuarantinedResponse, ListQuarantinedRequest, QuarantineAct,
    QuarantineHandling, QuarantineState, QuarantinedMessage, SettleQuarantinedRequest,
    quarantine_client::QuarantineClient,
};
use serde_json::json;

use crate::{
    clean::clean,
    connection::{Connection, Page},
    console::{Console, table},
    failure::{Failure, Verdict},
    sagas::state_name as saga_state,
    times,
};

/// Lists messages that could not be handled, newest first; with an ID, looks into one; re-drives or discards one.
///
/// Secrets (the values of names with `token` in them) are left out of what is shown. A message that is re-driven is not sent as it lies there: its saga is
/// retried, if it still waits for that very command, and so sends it anew.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    after_help = "\
Examples:
  saga quarantine --needs-me                 what nobody has dealt with
  saga quarantine --from PARTICIPANT --because 'unknown type' --older-than 600
  saga quarantine 01936e6a-7c1d-7000-8000-000000000000/STEP/action
  saga quarantine re-drive 01936e6a-7c1d-7000-8000-000000000000/STEP/action --reason 'the new version is out'
  saga quarantine discard ID --reason 'a stranger, ticket 4711'"
)]
pub struct Quarantine {
    #[command(subcommand)]
    act: Option<Act>,
    /// The message's id: looks inside
    #[arg(value_name = "ID")]
    message: Option<String>,
    /// Only those that stand here
    #[arg(long, conflicts_with = "message")]
    state: Option<State>,
    /// Only those that nobody has dealt with
    #[arg(long, conflicts_with_all = ["message", "state"])]
    needs_me: bool,
    /// Only those of this saga
    #[arg(long, value_name = "ID", conflicts_with = "message")]
    saga: Option<String>,
    /// Only those from a queue whose name contains this, such as a participant's name
    #[arg(long, value_name = "TEXT", conflicts_with = "message")]
    from: Option<String>,
    /// Only those whose reason contains this
    #[arg(long, value_name = "TEXT", conflicts_with = "message")]
    because: Option<String>,
    /// Only those whose first copy came at least so long ago
    #[arg(long, value_name = "SECONDS", conflicts_with = "message", value_parser = clap::value_parser!(i64).range(1..))]
    older_than: Option<i64>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Subcommand)]
enum Act {
    /// Has the message's saga retried, if it still waits for that command
    #[command(name = "re-drive")]
    Redrive(Settle),
    /// Keeps the message for the record only
    Discard(Settle),
}

/// Which message, and why.
#[derive(clap::Args)]
struct Settle {
    /// The message's id
    #[arg(value_name = "ID")]
    message: String,
    /// Only if the message still has this version; without it, the version that it has now
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    version: Option<i64>,
    /// Why, for the message's history
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,
    /// Only show what would be done and sent
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum State {
    Open,
    #[value(name = "re-driven")]
    Redriven,
    Discarded,
}

impl From<State> for QuarantineState {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Redriven => Self::Redriven,
            State::Discarded => Self::Discarded,
        }
    }
}

impl Quarantine {
    pub(crate) fn json(&self) -> bool {
        match &self.act {
            Some(Act::Redrive(settle) | Act::Discard(settle)) => settle.connection.json,
            None => self.connection.json,
        }
    }

    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        match self.act {
            Some(Act::Redrive(settle)) => settle.ask(QuarantineHandling::Redrive, console).await,
            Some(Act::Discard(settle)) => settle.ask(QuarantineHandling::Discard, console).await,
            None if self.message.is_some() => self.look_inside(console).await,
            None => self.list(console).await,
        }
    }

    async fn list(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = QuarantineClient::new(self.connection.channel());
        let state = match self.state {
            Some(state) => state.into(),
            None if self.needs_me => QuarantineState::Open,
            None => QuarantineState::Unspecified,
        };
        let mut page_token = String::new();
        loop {
            let request = ListQuarantinedRequest {
                state: state.into(),
                saga_id: self.saga.clone().unwrap_or_default(),
                from: self.from.clone().unwrap_or_default(),
                reason: self.because.clone().unwrap_or_default(),
                older_than_seconds: self.older_than.unwrap_or_default(),
                page_size: self.page.size(),
                page_token,
            };
            let request = self.connection.request(request);
            let page = client.list_quarantined(request).await?.into_inner();
            if console.json {
                let next = &page.next_page_token;
                console.object(&json!({"messages": page.messages, "nextPageToken": next}))?;
            } else if page.messages.is_empty() {
                console.note("No messages.")?;
            } else {
                let heading = ["MESSAGE", "VERSION", "STATE", "COPIES", "LAST SEEN", "FROM", "WHY"];
                console.say(&table(heading, page.messages.iter().map(row)))?;
            }
            page_token = page.next_page_token;
            if !self.page.goes_on(&page_token, console)? {
                return Ok(Verdict::Done);
            }
        }
    }

    async fn look_inside(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = QuarantineClient::new(self.connection.channel());
        let request = GetQuarantinedRequest { message_id: self.message.unwrap_or_default() };
        let request = self.connection.request(request);
        let answer = client.get_quarantined(request).await?.into_inner();
        if console.json {
            console.object(&answer)?;
        } else {
            console.say(&describe(&answer))?;
        }
        Ok(Verdict::Done)
    }
}

impl Settle {
    async fn ask(
        self,
        handling: QuarantineHandling,
        console: &mut Console<'_>,
    ) -> Result<Verdict, Failure> {
        let mut client = QuarantineClient::new(self.connection.channel());
        let expected_version = match self.version {
            Some(version) => version,
            None => {
                let request = GetQuarantinedRequest { message_id: self.message.clone() };
                let request = self.connection.request(request);
                let known = client.get_quarantined(request).await?.into_inner();
                known.message.unwrap_or_default().version
            }
        };
        let request = SettleQuarantinedRequest {
            message_id: self.message,
            handling: handling.into(),
            reason: self.reason,
            expected_version,
            dry_run: self.dry_run,
        };
        let request = self.connection.request(request);
        let answer = client.settle_quarantined(request).await?.into_inner();
        if console.json {
            console.object(&answer)?;
            return Ok(Verdict::Done);
        }
        let message = answer.message.unwrap_or_default();
        let (did, is, sent) = match (answer.repeated, answer.dry_run) {
            (true, _) => ("It was done before. The message", "is", "was sent"),
            (false, true) => ("Nothing is done. The message", "would be", "would be sent"),
            (false, false) => ("Done. The message", "is", "sent"),
        };
        let mut text =
            format!("{did} {is} {}, at version {}.", state_name(message.state), message.version);
        if let Some(saga) = answer.saga {
            let (id, state) = (&saga.saga_id, saga_state(saga.state));
            text.push_str(&format!("\n  its saga {id} {is} {state}, at version {}", saga.version));
        }
        for command in &answer.sent {
            text.push_str(&format!("\n  {sent}: {command}"));
        }
        console.say(&clean(&text))?;
        Ok(Verdict::Done)
    }
}

fn state_name(state: i32) -> String {
    match QuarantineState::try_from(state) {
        Ok(QuarantineState::Open) => "OPEN".to_owned(),
        Ok(QuarantineState::Redriven) => "RE-DRIVEN".to_owned(),
        Ok(QuarantineState::Discarded) => "DISCARDED".to_owned(),
        Ok(QuarantineState::Unspecified) | Err(_) => format!("UNKNOWN_{state}"),
    }
}

fn row(message: &QuarantinedMessage) -> [String; 7] {
    [
        message.message_id.clone(),
        message.version.to_string(),
        state_name(message.state),
        message.copies.to_string(),
        times::show(message.last_seen_micros),
        message.from.clone(),
        message.reason.clone(),
    ]
}

/// Describes a message to people: its state, what was done with it, its headers and its body.
fn describe(answer: &GetQuarantinedResponse) -> String {
    let message = answer.message.clone().unwrap_or_default();
    let mut fields = vec![
        ("Message", message.message_id.clone()),
        ("State", format!("{}, at version {}", state_name(message.state), message.version)),
        ("Why", message.reason.clone()),
        ("From", message.from.clone()),
        ("First seen", times::show(message.first_seen_micros)),
        ("Last seen", times::show(message.last_seen_micros)),
        ("Copies", message.copies.to_string()),
    ];
    if !message.saga_id.is_empty() {
        fields.push(("Saga", message.saga_id.clone()));
        fields.push(("Command", message.command.clone()));
    }
    let fields: Vec<String> =
        fields.into_iter().map(|(name, value)| format!("{name:<12}{value}")).collect();
    let mut headers: Vec<[String; 2]> =
        answer.headers.iter().map(|(name, value)| [name.clone(), value.clone()]).collect();
    headers.sort();
    let body = if answer.why_no_body.is_empty() { &answer.body } else { &answer.why_no_body };
    let mut parts = vec![clean(&fields.join("\n")).into_owned()];
    if !answer.acts.is_empty() {
        let heading = ["WHEN", "VERSION", "STATE", "WHO", "WHY", "SENT"];
        parts.push(table(heading, answer.acts.iter().map(act)));
    }
    parts.push(table(["HEADER", "VALUE"], headers));
    parts.push(clean(body).into_owned());
    parts.join("\n\n")
}

fn act(act: &QuarantineAct) -> [String; 6] {
    [
        times::show(act.at_micros),
        act.version.to_string(),
        state_name(act.state),
        act.by.clone(),
        act.reason.clone(),
        act.sent.join(", "),
    ]
}

#[cfg(test)]
mod tests;
