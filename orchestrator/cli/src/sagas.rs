//! `saga sagas` and `saga saga`: the operators' view.

use saga_operations::v1::{
    self as operations, GetSagaRequest, GetSagaResponse, ListSagasRequest, SagaFilter, SagaState,
    Transition, sagas_client::SagasClient,
};
use serde_json::json;

use crate::{
    clean::clean,
    connection::{Connection, Page},
    console::{Console, table},
    failure::{Failure, Verdict},
    times,
};

/// Lists sagas, newest first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga sagas --needs-me                 what waits for a person: why, where, since when, and what one can do
  saga sagas --state stuck --step STEP --older-than 600
  saga sagas --definition NAME --limit 5 --json")]
pub struct Sagas {
    /// Only those that stand here
    #[arg(long)]
    state: Option<State>,
    /// Only those of this definition
    #[arg(long, value_name = "NAME")]
    definition: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What else sagas must be to be picked.
#[derive(clap::Args, Clone)]
pub struct Filter {
    /// Only those that wait at this step, or are stuck at it
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Only those that began at least so long ago
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..))]
    older_than: Option<i64>,
    /// Only those that are stuck or undone for this: a refusal's code, or UNANSWERED, DEADLINE, CANCELLED, OPERATOR
    #[arg(long, value_name = "CODE")]
    because: Option<String>,
    /// Only those that an operator has paused
    #[arg(long)]
    paused: bool,
    /// Only those that wait for a person: stuck, paused, of a version that the server does not host, or undecidable
    #[arg(long)]
    needs_me: bool,
}

impl From<Filter> for SagaFilter {
    fn from(filter: Filter) -> Self {
        Self {
            older_than_seconds: filter.older_than.unwrap_or_default(),
            step: filter.step.unwrap_or_default(),
            reason: filter.because.unwrap_or_default(),
            paused: filter.paused,
            needs_me: filter.needs_me,
        }
    }
}

/// Shows one saga: where it stands and why, its steps, and everything that happened to it.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  saga saga 01936e6a-7c1d-7000-8000-000000000000")]
pub struct Saga {
    /// Its id
    #[arg(value_name = "ID")]
    saga: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum State {
    Running,
    Compensating,
    Completed,
    Compensated,
    Stuck,
}

impl From<State> for SagaState {
    fn from(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Compensating => Self::Compensating,
            State::Completed => Self::Completed,
            State::Compensated => Self::Compensated,
            State::Stuck => Self::Stuck,
        }
    }
}

impl Sagas {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = SagasClient::new(self.connection.channel());
        let mut page_token = String::new();
        loop {
            let request = ListSagasRequest {
                state: self.state.map_or(SagaState::Unspecified, SagaState::from).into(),
                definition: self.definition.clone().unwrap_or_default(),
                page_size: self.page.size(),
                page_token,
                filter: Some(self.filter.clone().into()),
            };
            let page = client.list_sagas(self.connection.request(request)).await?.into_inner();
            if console.json {
                let mut object =
                    json!({"sagas": page.sagas, "nextPageToken": page.next_page_token});
                if self.filter.needs_me {
                    object["quarantined"] = json!(page.quarantined.to_string());
                }
                console.object(&object)?;
            } else if page.sagas.is_empty() {
                console.note("No sagas.")?;
            } else if self.filter.needs_me {
                let heading =
                    ["SAGA", "VERSION", "STATE", "NEEDS", "STUCK AT", "SINCE", "WHY", "YOU CAN"];
                console.say(&table(heading, page.sagas.iter().map(need)))?;
            } else {
                let heading = ["SAGA", "DEFINITION", "STATE", "VERSION", "STARTED", "WHY"];
                console.say(&table(heading, page.sagas.iter().map(row)))?;
            }
            if !console.json && page.next_page_token.is_empty() && page.quarantined > 0 {
                console.say(&in_quarantine(page.quarantined))?;
            }
            page_token = page.next_page_token;
            if !self.page.goes_on(&page_token, console)? {
                return Ok(Verdict::Done);
            }
        }
    }
}

impl Saga {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = SagasClient::new(self.connection.channel());
        let request = self.connection.request(GetSagaRequest { saga_id: self.saga });
        let answer = client.get_saga(request).await?.into_inner();
        if console.json {
            console.object(&answer)?
        } else {
            console.say(&describe(&answer))?
        }
        Ok(Verdict::Done)
    }
}

pub(crate) fn state_name(state: i32) -> String {
    match SagaState::try_from(state) {
        Ok(state) => state.as_str_name().trim_start_matches("SAGA_STATE_").to_owned(),
        Err(_) => format!("UNKNOWN_{state}"),
    }
}

fn definition(saga: &operations::Saga) -> String {
    format!("{} v{}", saga.definition, saga.definition_version)
}

fn row(saga: &operations::Saga) -> [String; 6] {
    [
        saga.saga_id.clone(),
        definition(saga),
        state_name(saga.state),
        saga.version.to_string(),
        times::show(saga.started_at_micros),
        saga.why.clone(),
    ]
}

fn in_quarantine(messages: i64) -> String {
    match messages {
        1 => "1 message is in the quarantine.".to_owned(),
        many => format!("{many} messages are in the quarantine."),
    }
}

/// Formats the reasons why a saga needs a person, as columns of a table.
fn need(saga: &operations::Saga) -> [String; 8] {
    let since = match saga.stuck_since_micros {
        0 => String::new(),
        since => times::show(since),
    };
    [
        saga.saga_id.clone(),
        saga.version.to_string(),
        state_name(saga.state),
        saga.needs.clone(),
        saga.stuck_at.clone(),
        since,
        saga.why.clone(),
        saga.remedies.join(", "),
    ]
}

/// Describes a saga to people: its state, its steps, its history.
#[must_use]
pub fn describe(answer: &GetSagaResponse) -> String {
    let saga = answer.saga.clone().unwrap_or_default();
    let mut fields = vec![
        ("Saga", saga.saga_id.clone()),
        ("Definition", definition(&saga)),
        ("State", format!("{}, after {} transitions", state_name(saga.state), saga.version)),
        ("Caller", saga.caller.clone()),
        ("Started", times::show(saga.started_at_micros)),
        ("Deadline", times::show(saga.deadline_micros)),
    ];
    if saga.wake_at_micros != 0 {
        fields.push(("Wakes at", times::show(saga.wake_at_micros)));
    }
    if !saga.trace_id.is_empty() {
        fields.push(("Trace", saga.trace_id.clone()));
    }
    if !saga.why.is_empty() {
        fields.push(("Why", saga.why.clone()));
    }
    if !saga.remedies.is_empty() {
        fields.push(("You can", saga.remedies.join(", ")));
    }
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| format!("{name:<12}{value}")).collect();
    let steps = saga.steps.iter().map(|step| {
        let attempts = if step.attempts == 0 { String::new() } else { step.attempts.to_string() };
        [step.name.clone(), step.state.clone(), attempts]
    });
    let history =
        answer.history.iter().map(|transition| moment(saga.started_at_micros, transition));
    [
        clean(&fields.join("\n")).into_owned(),
        table(["STEP", "STATE", "ATTEMPTS"], steps),
        table(["AFTER", "VERSION", "STATE", "WHAT", "SENT"], history),
    ]
    .join("\n\n")
}

fn moment(started_at_micros: i64, transition: &Transition) -> [String; 5] {
    [
        times::since(started_at_micros, transition.at_micros),
        transition.version.to_string(),
        state_name(transition.state),
        transition.what.clone(),
        transition.sent.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use saga_operations::v1::Step;

    use super::*;

    #[test]
    fn a_saga_reads_as_a_timeline() {
        let saga = operations::Saga {
            saga_id: "s-1".to_owned(),
            definition: "place-order".to_owned(),
            definition_version: 1,
            state: SagaState::Running.into(),
            version: 2,
            caller: "anonymous".to_owned(),
            started_at_micros: 1_795_493_572_000_000,
            deadline_micros: 1_795_493_602_000_000,
            steps: vec![
                Step { name: "create-order".to_owned(), state: "done".to_owned(), attempts: 0 },
                Step { name: "reserve-stock".to_owned(), state: "open".to_owned(), attempts: 1 },
            ],
            ..Default::default()
        };
        let transition = |version, millis: i64, what: &str, sent: &str| Transition {
            version,
            at_micros: 1_795_493_572_000_000 + millis * 1000,
            what: what.to_owned(),
            sent: vec![sent.to_owned()],
            state: SagaState::Running.into(),
        };
        let answer = GetSagaResponse {
            saga: Some(saga),
            history: vec![
                transition(1, 0, "began", "create-order/action #1"),
                transition(2, 12, "create-order is done", "reserve-stock/action #1"),
            ],
        };
        assert_eq!(
            describe(&answer),
            "\
Saga        s-1
Definition  place-order v1
State       RUNNING, after 2 transitions
Caller      anonymous
Started     2026-11-24 04:12:52.000 UTC
Deadline    2026-11-24 04:13:22.000 UTC

STEP           STATE  ATTEMPTS
create-order   done
reserve-stock  open   1

AFTER     VERSION  STATE    WHAT                  SENT
+0.000 s  1        RUNNING  began                 create-order/action #1
+0.012 s  2        RUNNING  create-order is done  reserve-stock/action #1"
        );
    }
}
