//! A database that does not answer.

use std::time::Duration;

use metrics::counter;
use saga_core::Failure;
use tokio::time::timeout;
use tracing::error;

/// Time for which one call of a store is waited for. It is longer than any call that the database
/// carries out: its own bounds on statements, locks and idle transactions end those sooner. So
/// whoever is silent for longer has gone without a word, as the host of a failed database does.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Calls without an answer, one after the other, after which a role ends, so that it is started anew
/// with new connections.
pub const SILENT_CALLS: u32 = 3;

/// Waits for a store's answer, for at most [`SILENCE`]. After that the call is dropped, its outcome is
/// unknown, and the adapter never uses its connection again.
///
/// # Errors
/// [`Failure::UnknownCommit`] if no answer came, and the call's own failures.
pub async fn answered<R, E: From<Failure>>(
    work: impl Future<Output = Result<R, E>>,
) -> Result<R, E> {
    timeout(SILENCE, work).await.unwrap_or_else(|_| {
        counter!("saga_store_silent_total").increment(1);
        error!(seconds = SILENCE.as_secs(), "the database does not answer: its connection is left");
        Err(Failure::UnknownCommit(format!("no answer for {} s", SILENCE.as_secs())).into())
    })
}

/// Calls that went unanswered one after the other.
#[derive(Debug, Default)]
pub struct Silent(u32);

impl Silent {
    /// Waits as [`answered`] does. Returns true as the second value if there have been too many
    /// silent calls: then the role must end.
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
