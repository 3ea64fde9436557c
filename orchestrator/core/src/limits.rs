//! Every limit of the core, with its reason.

/// Longest name of a step, in bytes. With a UUID and a direction it forms a command id, which must
/// fit into an AMQP `message-id` of at most 255 bytes.
pub const MAX_STEP_NAME_BYTES: usize = 64;

/// Maximum number of steps in a definition. Each turn rewrites the row, which has the state of
/// every step.
pub const MAX_STEPS: usize = 64;

/// Longest text of a participant's refusal that a saga's row may hold, in bytes.
pub const MAX_REFUSAL_TEXT_BYTES: usize = 512;

/// Interval at which a stuck saga's command is still sent. A participant that has recovered by
/// itself answers it and the saga goes on; a participant that is down is not flooded.
pub const STUCK_RESEND_MILLIS: u64 = 60_000;

/// Interval at which the alert of a stuck saga is raised again.
pub const STUCK_REMINDER_MILLIS: u64 = 300_000;

/// Time after which a command expires in its queue, in per cent of its resend interval. Old copies
/// must be gone before new ones come; otherwise a backlog makes itself longer (protocol 16).
pub const EXPIRY_PER_CENT: u64 = 80;

/// Largest jitter of a resend interval, in per cent, up or down.
pub const JITTER_PER_CENT: u64 = 20;

/// Longest time from a saga's turn to its `wake_at`, in milliseconds, however long the saga has to
/// wait. So a later `wake_at` was written by a clock that was ahead.
pub const LONGEST_SLEEP_MILLIS: u64 = 600_000;

/// Largest difference between two sound clocks, in milliseconds. If an instant is ahead by more
/// than the longest wait and this together, a clock that was ahead has written it.
pub const CLOCK_SLACK_MILLIS: u64 = 60_000;

/// Largest distance of a sound `wake_at` from now, in milliseconds.
pub const AHEAD_MILLIS: u64 = LONGEST_SLEEP_MILLIS + CLOCK_SLACK_MILLIS;
