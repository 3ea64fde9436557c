//! `saga retry`, `skip`, `resolve`, `compensate`, `pause` and `resume`: interventions of operators.

use clap::builder::NonEmptyStringValueParser;
use saga_operations::v1::{
    GetSagaRequest, InterveneAllRequest, InterveneRequest, Remedy, Resolution, SagaState,
    sagas_client::SagasClient,
};

use crate::{
    clean::clean,
    connection::Connection,
    console::Console,
    failure::{Failure, Verdict},
    sagas::{Filter, State, state_name},
};

/// Sends what a saga waits for now, with a new bound; takes it out of stuck.
///
/// A step that was refused where no refusal is allowed is asked again under the same command id. A participant that keeps
/// to the rules repeats its recorded refusal: put its record right first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga retry 01936e6a-7c1d-7000-8000-000000000000 --reason 'the provider is back' --dry-run
  saga retry --all --state stuck --step STEP --reason 'the provider is back'")]
pub struct Retry {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// Undoes what a saga has done; only before its pivot, the step after which it can only go forward.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga compensate 01936e6a-7c1d-7000-8000-000000000000 --reason 'asked for by phone'
  saga compensate --all --step STEP --older-than 3600 --reason 'the service is closed' --dry-run")]
pub struct Compensate {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// Counts the step that a saga is stuck at as done, or its compensation as undone, although nobody has said so.
///
/// The participant is not told: what it has or has not done must be put right there, and the audit
/// names it until it is. The pivot cannot be skipped: look it up, then `resolve`.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  saga skip 01936e6a-7c1d-7000-8000-000000000000 --reason 'released by hand, ticket 4711'")]
pub struct Skip {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// States what became of a command that is open, or that was refused where no refusal is allowed.
///
/// `--refused` of the pivot undoes the saga: look it up first. `--refused` of a step that can
/// be undone undoes the saga too, that step included.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga resolve 01936e6a-7c1d-7000-8000-000000000000 STEP --done --reason 'it happened, see ticket 4711'
  saga resolve 01936e6a-7c1d-7000-8000-000000000000 STEP --compensation --done --reason 'undone by hand'")]
#[command(group(clap::ArgGroup::new("outcome").required(true).args(["done", "refused"])))]
pub struct Resolve {
    #[command(flatten)]
    one: One,
    /// The step, as `saga saga ID` names it
    #[arg(value_name = "STEP")]
    step: String,
    /// It is about the step's compensation
    #[arg(long)]
    compensation: bool,
    /// It happened
    #[arg(long)]
    done: bool,
    /// It did not happen
    #[arg(long)]
    refused: bool,
    /// The reply, where later steps need it: its message in JSON, as docs/grpc.md has it
    #[arg(
        long,
        value_name = "JSON",
        requires = "done",
        default_value = "",
        hide_default_value = true
    )]
    reply: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// Holds a saga: answers are recorded, nothing new is sent.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  saga pause 01936e6a-7c1d-7000-8000-000000000000 --reason 'somebody is on the phone'")]
pub struct Pause {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// Lets a paused saga go on.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  saga resume 01936e6a-7c1d-7000-8000-000000000000 --reason 'settled'")]
pub struct Resume {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// One saga.
#[derive(clap::Args)]
struct One {
    /// The saga's id
    #[arg(value_name = "ID")]
    saga: String,
    /// Only if the saga still has this version; without it, the version that it has now
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    version: Option<i64>,
}

/// One saga, or all that a filter picks.
#[derive(clap::Args)]
struct Which {
    /// The saga's id
    #[arg(value_name = "ID", required_unless_present = "all")]
    saga: Option<String>,
    /// Only if the saga still has this version; without it, the version that it has now
    #[arg(long, value_name = "N", conflicts_with = "all", value_parser = clap::value_parser!(i64).range(1..))]
    version: Option<i64>,
    /// Every saga that has not ended and that the filters pick
    #[arg(long, conflicts_with = "saga")]
    all: bool,
    /// With --all: only those that stand here
    #[arg(long, requires = "all")]
    state: Option<State>,
    /// With --all: only those of this definition
    #[arg(long, requires = "all", value_name = "NAME")]
    definition: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// With --all: at most so many
    #[arg(long, requires = "all", default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    limit: i32,
}

/// Why, and whether at all.
#[derive(clap::Args)]
pub(crate) struct Why {
    /// Why, for the saga's history
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,
    /// Only show what would be done and sent
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Retry {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        self.which.ask(Remedy::Retry, self.why, console).await
    }
}

impl Compensate {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        self.which.ask(Remedy::Compensate, self.why, console).await
    }
}

impl Skip {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        self.one.ask(Remedy::Skip, None, self.why, console).await
    }
}

impl Pause {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        self.one.ask(Remedy::Pause, None, self.why, console).await
    }
}

impl Resume {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        self.one.ask(Remedy::Resume, None, self.why, console).await
    }
}

impl Resolve {
    pub(crate) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let Self { one, step, compensation, done, refused: _, reply, why } = self;
        let resolution = Resolution { step, compensation, done, reply };
        one.ask(Remedy::Resolve, Some(resolution), why, console).await
    }
}

impl One {
    async fn ask(
        self,
        remedy: Remedy,
        resolution: Option<Resolution>,
        why: Why,
        console: &mut Console<'_>,
    ) -> Result<Verdict, Failure> {
        let mut client = SagasClient::new(why.connection.channel());
        let expected_version = match self.version {
            Some(version) => version,
            None => {
                let request = GetSagaRequest { saga_id: self.saga.clone() };
                let known = client.get_saga(why.connection.request(request)).await?.into_inner();
                known.saga.unwrap_or_default().version
            }
        };
        let request = InterveneRequest {
            saga_id: self.saga,
            remedy: remedy.into(),
            resolution,
            reason: why.reason.clone(),
            expected_version,
            dry_run: why.dry_run,
        };
        let answer = client.intervene(why.connection.request(request)).await?.into_inner();
        if console.json {
            console.object(&answer)?;
            return Ok(Verdict::Done);
        }
        let saga = answer.saga.unwrap_or_default();
        let (did, is) = match (answer.dry_run, answer.repeated) {
            (true, _) => ("Nothing is done. It", "would be"),
            (false, true) => ("It was done before. The saga", "is"),
            (false, false) => ("Done. The saga", "is"),
        };
        let mut text =
            format!("{did} {is} {}, at version {}", state_name(saga.state), saga.version);
        if !saga.why.is_empty() {
            text.push_str(&format!(" ({})", saga.why));
        }
        text.push('.');
        for sent in &answer.sent {
            text.push_str(&format!("\n  would be sent: {sent}"));
        }
        console.say(&clean(&text))?;
        Ok(Verdict::Done)
    }
}

impl Which {
    async fn ask(
        self,
        remedy: Remedy,
        why: Why,
        console: &mut Console<'_>,
    ) -> Result<Verdict, Failure> {
        let Self { saga, version, all: _, state, definition, filter, limit } = self;
        if let Some(saga) = saga {
            return One { saga, version }.ask(remedy, None, why, console).await;
        }
        let mut client = SagasClient::new(why.connection.channel());
        let request = InterveneAllRequest {
            remedy: remedy.into(),
            reason: why.reason.clone(),
            state: state.map_or(SagaState::Unspecified, SagaState::from).into(),
            definition: definition.unwrap_or_default(),
            filter: Some(filter.into()),
            limit,
            dry_run: why.dry_run,
        };
        let mut updates = client.intervene_all(why.connection.request(request)).await?.into_inner();
        let (mut done, mut left) = (0, 0);
        while let Some(update) = updates.message().await? {
            if update.applied {
                done += 1
            } else {
                left += 1
            }
            if console.json {
                console.object(&update)?;
                continue;
            }
            let id = &update.saga_id;
            let line = if update.applied {
                let sent = update.sent.join(", ");
                let state = state_name(update.state);
                format!("{id}  {state}, at version {}  {sent}", update.version)
            } else {
                format!("{id}  left alone: {}", update.why_not)
            };
            console.say(clean(&line).trim_end())?;
        }
        if !console.json {
            let did = if why.dry_run { "would be done" } else { "done" };
            console.note(&format!("{done} {did}, {left} left alone."))?;
        }
        Ok(if left == 0 { Verdict::Done } else { Verdict::Refused })
    }
}
