//! The pause between the batches of a loop.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The pause after a batch, as a multiple of the time that the batch took. Measured with Postgres
/// and RabbitMQ on two cores: with 1 and with 4, fewer sagas finish per second than with 2, at 64
/// and at 256 sagas in flight.
const REST: u32 = 2;

/// The longest pause. A batch for which [`REST`] would give a longer one is large already.
const LONGEST_REST: Duration = Duration::from_millis(30);

/// Pauses between batches, so that work gathers. A batch costs a commit and a few messages,
/// whatever its size. On a machine without a spare core, a loop that begins batches as often as it
/// can makes them small and slows every process down. So a loop pauses after a batch with more than
/// one member. After a batch with at most one it continues at once.
#[derive(Debug, Default)]
pub struct Pace {
    pause: Duration,
}

impl Pace {
    /// Pauses, if the last batch had more than one member.
    pub async fn rest(&mut self) {
        let pause = std::mem::take(&mut self.pause);
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }

    /// Records that a batch of `members`, which began at `since`, has finished.
    pub fn worked(&mut self, members: usize, since: Instant) {
        self.pause = match members {
            0 | 1 => Duration::ZERO,
            _ => (since.elapsed() * REST).min(LONGEST_REST),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measures the pause after a batch of `members` that took `took`.
    async fn rest_after(members: usize, took: Duration) -> Duration {
        let (mut pace, began) = (Pace::default(), Instant::now());
        tokio::time::advance(took).await;
        pace.worked(members, began);
        let done = Instant::now();
        pace.rest().await;
        let rest = done.elapsed();
        pace.rest().await;
        assert_eq!(done.elapsed(), rest, "it rests once a batch");
        rest
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_much_to_do_rests_and_who_has_one_thing_to_do_never_waits() {
        let millis = Duration::from_millis;
        assert_eq!(rest_after(0, millis(20)).await, Duration::ZERO);
        assert_eq!(rest_after(1, millis(20)).await, Duration::ZERO);
        assert_eq!(rest_after(2, millis(5)).await, millis(10));
        assert_eq!(rest_after(500, millis(200)).await, LONGEST_REST);
    }
}
