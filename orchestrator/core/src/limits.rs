//! Every bound of the core, with its reason.

/// Longest name of a step. It is part of a command id, which is an AMQP
/// `message-id` (at most 255 bytes) beside a UUID and a direction.
pub const MAX_STEP_NAME_BYTES: usize = 64;

/// Most steps in a definition: a saga's row is rewritten at each of its turns.
pub const MAX_STEPS: usize = 64;

/// Longest text that a participant's refusal may carry into a saga's row, in bytes.
pub const MAX_REFUSAL_TEXT_BYTES: usize = 512;

/// A stuck saga's command is still asked for, this slowly: a participant that
/// has recovered by itself takes the saga out again, and a dead one is not flooded.
pub const STUCK_RESEND_MILLIS: u64 = 60_000;

/// How often a stuck saga raises its alert again while it lasts.
pub const STUCK_REMINDER_MILLIS: u64 = 300_000;

/// A command dies in its queue after this share of its resend interval, in
/// per cent: old copies must be gone before new ones come, or a backlog feeds
/// itself (protocol 16).
pub const EXPIRY_PER_CENT: u64 = 80;

/// Jitter of a resend interval, in per cent to either side.
pub const JITTER_PER_CENT: u64 = 20;
