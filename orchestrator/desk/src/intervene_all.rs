//! Operators' interventions in all sagas that match a filter.

use saga_core::{Instance, Intervened, Intervention, Remedy, Signed};
use saga_engine::{ListFilter, Need, SagaReads};
use saga_operations::v1::{self as wire, InterveneAllRequest, InterveneAllUpdate};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::{
    Desk, describe,
    intervene::{operator, told},
    settings::UPDATES_AHEAD,
    status, validate,
};

/// The stream of outcomes, one for each saga.
pub(crate) type Updates = ReceiverStream<Result<InterveneAllUpdate, Status>>;

/// Maximum number of sagas in one call: more than a single cause should ever make stuck, and few
/// enough for a person to check.
const MOST: i32 = 10_000;
/// Number of sagas that are read at once.
const PAGE: usize = 100;

impl<R: SagaReads> Desk<R> {
    pub(crate) async fn step_in_at_all(
        &self,
        request: Request<InterveneAllRequest>,
    ) -> Result<Updates, Status> {
        let by = operator(&request, request.get_ref().dry_run)?;
        let InterveneAllRequest { remedy, reason, state, definition, filter, limit, dry_run } =
            request.into_inner();
        let remedy = match wire::Remedy::try_from(remedy).unwrap_or_default() {
            wire::Remedy::Retry => Remedy::Retry,
            wire::Remedy::Compensate => Remedy::Compensate,
            wire::Remedy::Unspecified
            | wire::Remedy::Skip
            | wire::Remedy::Resolve
            | wire::Remedy::Pause
            | wire::Remedy::Resume => {
                let why = "must be RETRY or COMPENSATE: the others need a look at each saga";
                return Err(status::invalid_field("remedy", why));
            }
        };
        if !(1..=MOST).contains(&limit) {
            return Err(status::invalid_field("limit", "must be 1 to 10,000"));
        }
        let filter = self.filter(state, definition, filter.unwrap_or_default())?;
        let signed = Signed { by, reason: validate::operators_reason(&reason)? };
        let place = self.waiter()?;
        let all = All {
            desk: self.clone(),
            remedy,
            signed,
            filter: ListFilter { unfinished: true, ..filter },
            left: usize::try_from(limit).unwrap_or_default(),
            dry_run,
        };
        let (updates, stream) = mpsc::channel(UPDATES_AHEAD);
        tokio::spawn(async move {
            let _place = place;
            if let Err(status) = all.carry_out(&updates).await {
                let _ = updates.send(Err(status)).await;
            }
        });
        Ok(ReceiverStream::new(stream))
    }
}

/// One call that intervenes in many sagas.
struct All<R> {
    desk: Desk<R>,
    remedy: Remedy,
    signed: Signed,
    filter: ListFilter,
    left: usize,
    dry_run: bool,
}

impl<R: SagaReads> All<R> {
    /// Intervenes in the sagas page by page, the newest first, so that it meets each saga once.
    /// Stops when the caller no longer reads the updates.
    async fn carry_out(
        mut self,
        updates: &mpsc::Sender<Result<InterveneAllUpdate, Status>>,
    ) -> Result<(), Status> {
        while self.left > 0 {
            self.filter.limit = self.left.min(PAGE);
            let sagas = self.desk.reads.list(&self.filter).await;
            let sagas = sagas.map_err(|failure| status::of_failure(&failure))?;
            let last_page = sagas.len() < self.filter.limit;
            self.filter.before = sagas.last().map(|saga| saga.id);
            self.left -= sagas.len();
            for saga in sagas {
                if self.desk.shutdown.is_cancelled() {
                    return Err(status::stopping());
                }
                if updates.is_closed() {
                    return Ok(());
                }
                let update = self.one(&saga).await?;
                if updates.send(Ok(update)).await.is_err() {
                    return Ok(());
                }
            }
            if last_page {
                break;
            }
        }
        Ok(())
    }

    async fn one(&self, saga: &Instance) -> Result<InterveneAllUpdate, Status> {
        // A saga that this server cannot decide on is skipped, so that it does not block the
        // others.
        if let Some(obstacle) = Need::of(&self.desk.hosted, saga).and_then(|it| it.obstacle()) {
            return Ok(InterveneAllUpdate {
                saga_id: saga.id.to_string(),
                applied: false,
                why_not: obstacle,
                version: describe::number(saga.version),
                state: describe::state(saga.phase.state()).into(),
                sent: Vec::new(),
            });
        }
        let asked = Intervention {
            remedy: self.remedy.clone(),
            expected_version: saga.version,
            signed: self.signed.clone(),
        };
        let did = self.desk.ask(saga.id, asked, self.dry_run).await?;
        let why_not = match told(did.verdict)? {
            Intervened::Applied | Intervened::Repeated => String::new(),
            Intervened::Moved { version } => format!("it has moved on to version {version}"),
            Intervened::Impossible(obstacle) => obstacle.to_string(),
        };
        Ok(InterveneAllUpdate {
            saga_id: saga.id.to_string(),
            applied: why_not.is_empty(),
            why_not,
            version: describe::number(did.saga.version),
            state: describe::state(did.saga.phase.state()).into(),
            sent: describe::sent(&did.send),
        })
    }
}
