//! Operators' interventions in one saga (semantics 26).

use saga_core::{
    Direction, Input, Intervened, Intervention, Remedy, SagaId, Signed, Stated, Verdict,
};
use saga_engine::{Preview, SagaReads};
use saga_identity::ACT;
use saga_operations::v1::{self as wire, InterveneRequest, InterveneResponse, Resolution};
use tonic::{Request, Status};

use crate::{Caller, Desk, describe, status, validate};

/// Maximum length of a reply that an operator may state. The largest valid reply, a reservation of
/// 100 lines, has less than 20 KiB.
const MAX_REPLY_BYTES: usize = 64 * 1024;

impl<R: SagaReads> Desk<R> {
    pub(crate) async fn step_in(
        &self,
        request: Request<InterveneRequest>,
    ) -> Result<InterveneResponse, Status> {
        let by = operator(&request, request.get_ref().dry_run)?;
        let InterveneRequest { saga_id, remedy, resolution, reason, expected_version, dry_run } =
            request.into_inner();
        let id = validate::id("saga_id", &saga_id)?;
        let remedy = read(remedy, resolution)?;
        let reason = validate::operators_reason(&reason)?;
        let expected_version = u64::try_from(expected_version).unwrap_or_default();
        if expected_version == 0 {
            let why = "must be the saga's version as it was seen, from 1";
            return Err(status::invalid_field("expected_version", why));
        }
        let asked = Intervention { remedy, expected_version, signed: Signed { by, reason } };
        let did = self.ask(id, asked, dry_run).await?;
        let repeated = match told(did.verdict)? {
            Intervened::Applied => false,
            Intervened::Repeated => true,
            Intervened::Moved { version } => {
                return Err(status::moved_on(&saga_id, expected_version, version));
            }
            Intervened::Impossible(obstacle) => {
                return Err(status::not_possible(&saga_id, &obstacle.to_string()));
            }
        };
        Ok(InterveneResponse {
            saga: Some(self.described(&did.saga)),
            sent: describe::sent(&did.send),
            repeated,
            dry_run,
        })
    }

    /// Carries out an intervention. A dry run only finds out what it would do.
    pub(crate) async fn ask(
        &self,
        id: SagaId,
        asked: Intervention,
        dry_run: bool,
    ) -> Result<Preview, Status> {
        let input = Input::Intervene(asked);
        let requests = &self.handle.requests;
        let done = if dry_run {
            requests.preview(id, input).await
        } else {
            let done = requests.input(id, input).await;
            done.map(|(verdict, saga)| Preview { verdict, saga, send: Vec::new() })
        };
        // The status has no trace id: the saga's is known only after the saga has been decided on.
        done.map_err(|error| status::of_request(&error, "saga", &id.to_string(), ""))
    }
}

/// Extracts the outcome of an intervention from the engine's verdict.
pub(crate) fn told(verdict: Verdict) -> Result<Intervened, Status> {
    match verdict {
        Verdict::Intervention(intervened) => Ok(intervened),
        Verdict::Applied
        | Verdict::Duplicate
        | Verdict::Late
        | Verdict::Foreign
        | Verdict::Contradicts
        | Verdict::Nothing
        | Verdict::Cancel(_) => {
            Err(status::internal("an intervention was taken for something else"))
        }
    }
}

/// Returns the operator who calls. Only a dry run may be asked for without the role [`ACT`].
pub(crate) fn operator<T>(request: &Request<T>, dry_run: bool) -> Result<String, Status> {
    let caller = Caller::of(request)?;
    if !dry_run {
        caller.must(ACT)?;
    }
    Ok(caller.signature())
}

/// Parses and validates a remedy.
fn read(remedy: i32, resolution: Option<Resolution>) -> Result<Remedy, Status> {
    let wanted = wire::Remedy::try_from(remedy).unwrap_or_default();
    if resolution.is_some() && wanted != wire::Remedy::Resolve {
        return Err(status::invalid_field("resolution", "belongs to RESOLVE only"));
    }
    match wanted {
        wire::Remedy::Unspecified => {
            Err(status::invalid_field("remedy", "must be one that an operator has"))
        }
        wire::Remedy::Retry => Ok(Remedy::Retry),
        wire::Remedy::Skip => Ok(Remedy::Skip),
        wire::Remedy::Compensate => Ok(Remedy::Compensate),
        wire::Remedy::Pause => Ok(Remedy::Pause),
        wire::Remedy::Resume => Ok(Remedy::Resume),
        wire::Remedy::Resolve => {
            let missing =
                || status::invalid_field("resolution", "must say what became of which step");
            resolve(resolution.ok_or_else(missing)?)
        }
    }
}

fn resolve(resolution: Resolution) -> Result<Remedy, Status> {
    let Resolution { step, compensation, done, reply } = resolution;
    if reply.len() > MAX_REPLY_BYTES || reply.contains('\0') {
        let why = "must be a reply's JSON of at most 65,536 bytes";
        return Err(status::invalid_field("resolution.reply", why));
    }
    if !done && !reply.is_empty() {
        return Err(status::invalid_field("resolution.reply", "belongs to what is done"));
    }
    let direction = if compensation { Direction::Compensation } else { Direction::Action };
    let outcome = if done {
        Stated::Done { reply: Some(reply).filter(|reply| !reply.is_empty()) }
    } else {
        Stated::Refused
    };
    Ok(Remedy::Resolve { step, direction, outcome })
}
