//! Every bound of the core, with its reason.

/// Longest name of a step, in bytes. With a UUID and a direction it makes a command id, which is an
/// AMQP `message-id` of at most 255 bytes.
pub const MAX_STEP_NAME_BYTES: usize = 64;

/// Most steps in a definition: a saga's row is rewritten at each of its turns.
pub const MAX_STEPS: usize = 64;

/// Longest text that a participant's refusal may carry into a saga's row, in bytes.
pub const MAX_REFUSAL_TEXT_BYTES: usize = 512;

/// Interval at which a stuck saga's command is still sent: a participant that has recovered by
/// itself lets the saga go on, and a dead one is not flooded.
pub const STUCK_RESEND_MILLIS: u64 = 60_000;

/// Interval at which a stuck saga raises its alert again.
pub const STUCK_REMINDER_MILLIS: u64 = 300_000;

/// Share of its resend interval after which a command expires in its queue, in per cent. Old copies
/// must be gone before new ones come, or a backlog feeds itself (protocol 16).
pub const EXPIRY_PER_CENT: u64 = 80;

/// Jitter of a resend interval, in per cent to either side.
pub const JITTER_PER_CENT: u64 = 20;

/// Longest time for which a saga is not looked at, in milliseconds, however long it has to wait. So a
/// later `wake_at` was written by a clock that was ahead.
pub const LONGEST_SLEEP_MILLIS: u64 = 600_000;

/// Most that a sound clock differs from another, in milliseconds. An instant that is further ahead
/// than any wait by more than this comes from a clock that was fast.
pub const CLOCK_SLACK_MILLIS: u64 = 60_000;

/// Time from now beyond which no sound `wake_at` lies, in milliseconds.
pub const AHEAD_MILLIS: u64 = LONGEST_SLEEP_MILLIS + CLOCK_SLACK_MILLIS;
