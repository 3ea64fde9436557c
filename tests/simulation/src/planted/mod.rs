//! Bugs that are planted on purpose, to prove that the simulation notices them. Each is a decorator
//! around a port, so the product contains none of them.
//!
//! Each bug breaks one rule of distributed sagas. `caught_within` returns the number of seeds
//! within which the simulation must notice the bug.

mod definition;
mod inbox;
mod saga_store;
mod transport;
mod wire;

/// What a run must have for a bug to matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Databases forget commits.
    Forgetting,
    /// The provider is away for twenty minutes.
    ProviderAway,
    /// Strangers send messages.
    Strangers,
    /// Clients wait.
    Waiters,
    /// Statements over many rows take too long.
    SlowStatements,
}

pub(crate) use definition::hosted;
pub(crate) use inbox::PlantedInbox;
pub(crate) use saga_store::PlantedStore;
pub(crate) use transport::PlantedTransport;
pub(crate) use wire::PlantedWire;

macro_rules! planted {
    ($($(#[$doc:meta])* $one:ident, within $seeds:literal $(, needs $need:ident)?;)*) => {
        /// The bugs that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
        pub enum Planted {
            $($(#[$doc])* $one,)*
        }

        impl Planted {
            /// All bugs.
            pub const ALL: &[Self] = &[$(Self::$one,)*];

            /// Returns the number of seeds, counted from 1, within which the simulation must notice
            /// the bug.
            #[must_use]
            pub const fn caught_within(self) -> u64 {
                match self {
                    $(Self::$one => $seeds,)*
                }
            }

            /// Returns what a run must have for this bug to matter, besides the usual faults.
            pub(crate) const fn needs(self) -> &'static [Need] {
                match self {
                    $(Self::$one => &[$(Need::$need)?],)*
                }
            }
        }
    };
}

planted! {
    /// A participant runs every copy of a command.
    NoDeduplication, within 3;
    /// A participant acknowledges commands as they arrive.
    CommandAckedBeforeCommit, within 60;
    /// An orchestrator acknowledges replies as they arrive.
    ReplyAckedBeforeCommit, within 60;
    /// A participant answers first and commits later.
    AnsweredBeforeCommit, within 3;
    /// An orchestrator sends commands first and commits later.
    CommandedBeforeCommit, within 3;
    /// A participant takes a commit of unknown outcome for done.
    UnknownCommitIsDone, within 10;
    /// An action runs although its compensation came first.
    ActionAfterItsTombstone, within 40;
    /// A step that was asked for and not answered is not undone.
    UnknownNotUndone, within 10;
    /// The pivot is given up when it takes too long.
    PivotTimesOut, within 10;
    /// A cancel undoes although the pivot is open.
    CancelBeyondThePivot, within 20;
    /// A late reply moves the saga all the same.
    StaleReplyMoves, within 30;
    /// A redelivered reply publishes nothing.
    RedeliveredReplyIgnored, within 60;
    /// Turns use rows that were read long ago, and so do turns that write nothing.
    StaleCacheSwallowsReplies, within 20;
    /// A saga is woken later than it needs.
    WokenTooLate, within 3;
    /// A saga sleeps until the time that a clock has said that was fast.
    SleepsAsAFastClockSaid, within 60;
    /// A refusal is recorded as done.
    RefusalIsDone, within 3;
    /// The last answer of a batch is sent but not recorded.
    BatchMemberNotRecorded, within 3;
    /// After a batch has failed, all its members but the first are forgotten.
    NeighboursForgotten, within 30;
    /// A parcel is acknowledged when half of it was handled.
    ParcelAckedByHalf, within 150;
    /// An acknowledgement covers all earlier deliveries too.
    AckCoversEarlier, within 100;
    /// An unconfirmed message counts as sent.
    UnconfirmedIsSent, within 10;
    /// A returned message counts as sent.
    ReturnedIsSent, within 20;
    /// A reply is published before its event.
    ReplyBeforeEvent, within 3;
    /// The flag that a message may have come before is lost.
    FlagLost, within 60;
    /// A redelivered reply publishes all open commands.
    RepublishesEverything, within 60;
    /// Every call to the provider has a key of its own.
    FreshKeys, within 3;
    /// The provider's silence is taken for a refusal.
    SilenceIsANo, within 10;
    /// A call that nobody answered counts as never sent.
    SilenceIsNotSent, within 10;
    /// Idempotency keys bind nothing.
    KeysBindNothing, within 3;
    /// A call that provably was not sent counts as one that may have arrived (finding A3).
    NotSentIsSilence, within 10, needs ProviderAway;
    /// A participant believes any watermark that is not ahead of its clock (A4).
    AnyWatermarkIsBelieved, within 10, needs Strangers;
    /// A reply counts from any participant, whoever runs the step.
    AnybodysReplyCounts, within 10, needs Strangers;
    /// What is remembered is written if its version is right, also after a failover (A5a).
    RemembersByVersionAlone, within 200, needs Forgetting;
    /// An action is told as done again after its undo (A5b).
    UndoneIsToldAsDone, within 100, needs Forgetting;
    /// A capture without a record is refused without a look at the provider (A5c).
    CaptureIsNotLookedUp, within 100, needs Forgetting;
    /// Each copy of a command has a call of its own (A6).
    CopiesCallSideBySide, within 3;
    /// A statement that exceeds its time limit is tried again with the same replies (A9).
    SlowTurnIsTriedAgainWhole, within 10, needs SlowStatements;
    /// The same at a participant (A9, A16).
    SlowBatchIsTriedAgainWhole, within 10, needs SlowStatements;
    /// Poison that the quarantine refuses counts as arrived (A10).
    RefusedPoisonIsGone, within 40, needs Strangers;
    /// A row that does not decode fails the whole read (A14).
    OneRowFailsAll, within 10, needs Waiters;
    /// The members of a parcel that is taken apart never expire (A18).
    ApartNeverExpires, within 10;
    /// A reply is kept in the quarantine under its command's id (A18).
    ReplyIsKeptAsItsCommand, within 40;
    /// Messages that name no command share one row of the quarantine (A18).
    UnnamedShareOneRow, within 3, needs Strangers;
}
