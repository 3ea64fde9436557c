//! Waits for changes that another process makes, by checking repeatedly within a time limit.

use std::time::{Duration, Instant};

/// Pause between two checks: short compared with any wait, long compared with a check.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Waits until `holds` returns true. Panics with `what` if that takes longer than `limit`.
///
/// `what` completes the sentence "waited 5s for …".
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    if poll(limit, || holds().then_some(())).is_none() {
        panic!("waited {limit:?} for {what}, in vain");
    }
}

/// Calls `look` until it returns a value. Panics with `what` if that takes longer than `limit`. A
/// call that hangs is dropped at the limit, so it must not hold a transaction.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    match tokio::time::timeout(limit, looking).await {
        Ok(seen) => seen,
        Err(_) => panic!("waited {limit:?} for {what}, in vain"),
    }
}

/// Calls `look` until it returns a value or the time is up. Calls it at least once, and one last
/// time after the time is up.
pub(crate) fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let out_of_time = started.elapsed() >= limit;
        if let Some(seen) = look() {
            return Some(seen);
        }
        if out_of_time {
            return None;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_as_soon_as_the_condition_holds() {
        let mut looks = 0;
        wait_until("the third look", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "for the sea to part, in vain")]
    fn waiting_in_vain_says_what_it_waited_for() {
        wait_until("the sea to part", Duration::from_millis(30), || false);
    }

    #[tokio::test]
    #[should_panic(expected = "for an answer, in vain")]
    async fn a_look_that_hangs_is_bounded_too() {
        eventually("an answer", Duration::from_millis(30), async || {
            std::future::pending::<Option<()>>().await
        })
        .await;
    }
}
