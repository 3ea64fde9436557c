//! The policy for sending a command again.

use serde::{Deserialize, Serialize};

use crate::{CommandId, limits};

/// The waits between the attempts to send a command, and the number of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Wait after the first attempt, in milliseconds. It doubles with each further attempt.
    pub first_millis: u64,
    /// The longest wait, in milliseconds.
    pub longest_millis: u64,
    /// Number of attempts. After the last one the step is given up, or its saga gets stuck.
    pub attempts: u32,
}

impl RetryPolicy {
    /// Policy before the pivot: about a minute in all, then the saga is undone.
    pub const FORWARD: Self = Self { first_millis: 3_000, longest_millis: 20_000, attempts: 6 };
    /// Policy of pivot, retriable steps and compensations: many minutes, then the saga is stuck.
    pub const PERSISTENT: Self = Self { first_millis: 3_000, longest_millis: 60_000, attempts: 20 };

    /// Returns how long to wait for the answer to attempt `attempt` (from 1), in milliseconds. The
    /// jitter is a hash of the command's id, so every process computes the same one. After the
    /// policy's last attempt, a stuck saga sends at this interval.
    #[must_use]
    pub fn interval_millis(&self, id: &CommandId, attempt: u32) -> u64 {
        let base = if attempt > self.attempts {
            limits::STUCK_RESEND_MILLIS
        } else {
            let doublings = attempt.saturating_sub(1).min(20);
            self.first_millis.saturating_mul(1 << doublings).min(self.longest_millis)
        };
        // Without this, a very long configured wait would overflow the multiplications below.
        let base = base.min(u64::MAX / 200);
        let spread = base * limits::JITTER_PER_CENT / 100;
        let hash = fnv1a(id, attempt);
        (base - spread + hash % (2 * spread + 1)).max(1)
    }

    /// Returns how long a copy of attempt number `attempt` may stay in a queue, in milliseconds.
    #[must_use]
    pub fn expiry_millis(&self, id: &CommandId, attempt: u32) -> u64 {
        (self.interval_millis(id, attempt) * limits::EXPIRY_PER_CENT / 100).max(1)
    }
}

/// Hashes with FNV-1a, 64 bits. It spreads similar ids well enough and never changes; the standard
/// library's hasher does not promise that.
fn fnv1a(id: &CommandId, attempt: u32) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    eat(id.saga.0.as_bytes());
    eat(id.step.as_bytes());
    eat(&[id.direction as u8]);
    eat(&attempt.to_le_bytes());
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Direction, SagaId};

    fn id(n: u128) -> CommandId {
        CommandId {
            saga: SagaId(uuid::Uuid::from_u128(n)),
            step: "reserve-stock".into(),
            direction: Direction::Action,
        }
    }

    proptest! {
        #[test]
        fn intervals_stay_within_their_bounds(n: u128, attempt in 1u32..=20) {
            let policy = RetryPolicy::PERSISTENT;
            let interval = policy.interval_millis(&id(n), attempt);
            prop_assert!(interval >= policy.first_millis * 80 / 100);
            prop_assert!(interval <= policy.longest_millis * 120 / 100);
            prop_assert!(policy.expiry_millis(&id(n), attempt) < interval);
            prop_assert_eq!(interval, policy.interval_millis(&id(n), attempt));
        }
    }

    #[test]
    fn beyond_the_bound_it_is_asked_for_slowly_and_copies_still_die_first() {
        let policy = RetryPolicy { first_millis: 200_000, longest_millis: 400_000, attempts: 2 };
        assert!(policy.interval_millis(&id(1), 2) >= 320_000);
        for attempt in [3, 4, 1_000, u32::MAX] {
            let interval = policy.interval_millis(&id(1), attempt);
            assert!((48_000..=72_000).contains(&interval), "{interval}");
            assert!(policy.expiry_millis(&id(1), attempt) < interval);
        }
    }

    #[test]
    fn no_wait_is_too_long_to_be_computed() {
        let policy =
            RetryPolicy { first_millis: u64::MAX, longest_millis: u64::MAX, attempts: u32::MAX };
        assert!(policy.expiry_millis(&id(1), 9) < policy.interval_millis(&id(1), 9));
        let policy = RetryPolicy { first_millis: 0, longest_millis: 0, attempts: 0 };
        assert!(policy.expiry_millis(&id(1), 0) >= 1);
    }

    #[test]
    fn neighbours_are_spread() {
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..100 {
            seen.insert(RetryPolicy::FORWARD.interval_millis(&id(n), 1));
        }
        assert!(seen.len() > 60, "{} different intervals of 100", seen.len());
    }
}
