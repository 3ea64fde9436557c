//! Time limits for a database that does not answer.

use std::time::Duration;

use metrics::counter;
use saga_core::Failure;
use tokio::time::timeout;
use tracing::error;

/// Time limit for a call of a store. It is longer than any call can take while the database works,
/// because the database's own limits on statements, locks and idle transactions end those sooner.
/// So a database that is silent for longer is unreachable, for example because its host has failed.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Number of consecutive calls without an answer after which a role ends. It is then started anew,
/// with new connections.
pub const SILENT_CALLS: u32 = 3;

/// Waits for a store's answer, for at most [`SILENCE`]. After that the call is dropped, its outcome
/// is unknown, and the adapter never uses the call's connection again.
///
/// # Errors
/// [`Failure::UnknownCommit`] if no answer came. Otherwise the call's own failures.
pub async fn answered<R, E: From<Failure>>(
    work: impl Future<Output = Result<R, E>>,
) -> Result<R, E> {
    timeout(SILENCE, work).await.unwrap_or_else(|_| {
        counter!("saga_store_silent_total").increment(1);
        error!(seconds = SILENCE.as_secs(), "the database does not answer: its connection is left");
        Err(Failure::UnknownCommit(format!("no answer for {} s", SILENCE.as_secs())).into())
    })
}

/// The number of consecutive calls that went unanswered.
#[derive(Debug, Default)]
pub struct Silent(u32);

impl Silent {
    /// Waits as [`answered`] does. The second value is true if [`SILENT_CALLS`] calls in a row went
    /// unanswered: then the role must end.
    pub async fn call<R, E: From<Failure>>(
        &mut self,
        work: impl Future<Output = Result<R, E>>,
    ) -> (Result<R, E>, bool) {
        let began = tokio::time::Instant::now();
        let result = answered(work).await;
        let silent = result.is_err() && began.elapsed() >= SILENCE;
        self.0 = if silent { self.0 + 1 } else { 0 };
        (result, self.0 >= SILENT_CALLS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_has_an_end_and_answers_reset_the_count() {
        let mut silent = Silent::default();
        let hang = async |silent: &mut Silent| {
            let (result, over) = silent.call(std::future::pending::<Result<(), Failure>>()).await;
            assert!(matches!(result, Err(Failure::UnknownCommit(_))), "{result:?}");
            over
        };
        assert!(!hang(&mut silent).await && !hang(&mut silent).await);
        let away = async { Err::<(), _>(Failure::Unavailable("refused at once".to_owned())) };
        assert!(!silent.call(away).await.1, "an error is an answer");
        assert!(!hang(&mut silent).await && !hang(&mut silent).await);
        assert!(hang(&mut silent).await, "three in a row");
    }
}
