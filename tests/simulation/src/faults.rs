//! The kinds of faults, and their rates in a run.

use crate::dice::Dice;

macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $one:ident: $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name {
            $($(#[$doc])* $one,)*
        }

        impl $name {
            /// All values.
            pub(crate) const ALL: &[Self] = &[$(Self::$one,)*];

            /// Returns the name that people read.
            #[must_use]
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$one => $text,)*
                }
            }
        }
    };
}

named! {
    /// A kind of fault.
    Fault {
        /// A process dies at a named point.
        CrashAtPoint: "crash at a point",
        /// A process dies, wherever its tasks are.
        Crash: "crash anywhere",
        /// A process is told to stop, and is started again.
        Restart: "orderly restart",
        /// A process stands still for longer than every time-out, and goes on.
        Freeze: "freeze",
        /// Published messages are not confirmed; some of them may have arrived.
        PublishUnconfirmed: "publish not confirmed",
        /// The broker refuses some of the messages.
        PublishRefused: "publish refused",
        /// A message arrives twice.
        Duplicate: "message duplicated",
        /// A message arrives late.
        SlowMessage: "message delayed",
        /// A confirmation arrives late.
        SlowConfirm: "confirmation delayed",
        /// An acknowledgement is lost with its connection; unacknowledged messages come again.
        AckLost: "acknowledgement lost",
        /// A consumer's connection ends; unacknowledged messages come again.
        Cut: "connection cut",
        /// The broker is away for a while, and every connection ends.
        BrokerAway: "broker away",
        /// A transaction conflicts with another one.
        Conflict: "conflict or deadlock",
        /// The database does not answer.
        Unavailable: "database unavailable",
        /// A commit's answer is lost, although the commit was written.
        UnknownDone: "commit unknown, done",
        /// A commit's answer is lost, and the commit was not written.
        UnknownLost: "commit unknown, not done",
        /// A statement is slow.
        SlowStore: "database slow",
        /// A database's clock jumps.
        ClockJump: "database clock jump",
        /// A call never reaches the provider.
        CallLost: "provider call lost",
        /// A call reaches the provider after its caller has given up.
        CallLate: "provider call late",
        /// The provider's answer is lost.
        AnswerLost: "provider answer lost",
        /// The provider answers late.
        SlowAnswer: "provider slow",
        /// The provider is away for a while.
        ProviderAway: "provider away",
        /// A client goes away in the middle of its call.
        ClientGone: "client gone",
        /// A database forgets its last commits.
        Forgets: "database forgets commits",
        /// The provider, the broker or the sagas' database is away for twenty minutes.
        LongOutage: "away for 20 minutes",
        /// A statement over too many rows exceeds its time limit.
        TooManyRows: "statement exceeds its time limit",
        /// A stranger sends a message that nobody can handle.
        Stranger: "message of a stranger",
        /// A participant answers the step of another one.
        Forgery: "forged reply",
    }
}

named! {
    /// A named point at which a process can die. It can die anywhere else too.
    Point {
        /// Before new sagas are written.
        BeforeAdmit: "orchestrator: before admitting",
        /// After new sagas are written.
        AfterAdmit: "orchestrator: after admitting",
        /// Before a turn is written.
        BeforeTurn: "orchestrator: before a turn's commit",
        /// After a turn is written.
        AfterTurn: "orchestrator: after a turn's commit",
        /// Before due sagas are claimed.
        BeforeClaim: "orchestrator: before a claim's commit",
        /// After due sagas are claimed.
        AfterClaim: "orchestrator: after a claim's commit",
        /// Before poison is stored in the quarantine.
        BeforeQuarantine: "orchestrator: before keeping poison",
        /// After poison is stored in the quarantine.
        AfterQuarantine: "orchestrator: after keeping poison",
        /// Before commands are published.
        BeforeCommands: "orchestrator: before publishing commands",
        /// After commands are published.
        AfterCommands: "orchestrator: after publishing commands",
        /// Before replies are acknowledged.
        BeforeReplyAck: "orchestrator: before acknowledging",
        /// After replies are acknowledged.
        AfterReplyAck: "orchestrator: after acknowledging",
        /// Before a transaction begins.
        BeforeBegin: "participant: before a transaction",
        /// Before rows are locked.
        BeforeLock: "participant: before locking",
        /// Before answers are recorded, when the effect is already written.
        BeforeRecord: "participant: before recording answers",
        /// Before the commit.
        BeforeCommit: "participant: before the commit",
        /// After the commit.
        AfterCommit: "participant: after the commit",
        /// Before events are published.
        BeforeEvents: "participant: before publishing events",
        /// After events are published.
        AfterEvents: "participant: after publishing events",
        /// Before replies are published.
        BeforeReplies: "participant: before publishing replies",
        /// After replies are published.
        AfterReplies: "participant: after publishing replies",
        /// Before a parcel is split.
        BeforeApart: "participant: before taking a parcel apart",
        /// After a parcel is split.
        AfterApart: "participant: after taking a parcel apart",
        /// Before commands are acknowledged.
        BeforeCommandAck: "participant: before acknowledging",
        /// After commands are acknowledged.
        AfterCommandAck: "participant: after acknowledging",
        /// Before the provider is called.
        BeforeCall: "payment: before asking the provider",
        /// After the provider has answered.
        AfterCall: "payment: after asking the provider",
    }
}

/// The probability of each fault in one run, from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Rates(Vec<f64>);

impl Rates {
    /// Returns the rates of a run without faults.
    #[must_use]
    pub(crate) fn none() -> Self {
        Self(vec![0.0; Fault::ALL.len()])
    }

    /// Draws rates: most kinds never happen or are rare, and some happen often.
    #[must_use]
    pub(crate) fn draw(dice: &Dice) -> Self {
        let rate = |fault: &Fault| {
            // The plan decides on these.
            if fault.most() == 0.0 {
                return 0.0;
            }
            let (drawn, share) = (dice.chance(0.6), dice.share());
            // Squared, so that low rates are more common than high ones.
            if drawn { fault.most() * share * share } else { 0.0 }
        };
        Self(Fault::ALL.iter().map(rate).collect())
    }

    /// Returns the rate of this fault.
    #[must_use]
    pub(crate) fn of(&self, fault: Fault) -> f64 {
        self.0[fault as usize]
    }

    /// Returns the same rates without these faults.
    #[must_use]
    pub(crate) fn without(mut self, faults: &[Fault]) -> Self {
        for fault in faults {
            self.0[*fault as usize] = 0.0;
        }
        self
    }
}

impl Fault {
    /// Returns the highest rate that is drawn. Some faults are drawn once a second, the others at
    /// every call of a port.
    const fn most(self) -> f64 {
        match self {
            Self::CrashAtPoint => 0.06,
            Self::Crash | Self::Cut => 0.3,
            Self::Restart => 0.1,
            Self::Freeze | Self::BrokerAway | Self::ProviderAway => 0.05,
            Self::ClockJump => 0.2,
            Self::PublishUnconfirmed | Self::AnswerLost | Self::CallLost => 0.3,
            Self::PublishRefused | Self::AckLost | Self::CallLate => 0.2,
            Self::Duplicate | Self::SlowMessage | Self::SlowConfirm | Self::SlowAnswer => 0.4,
            Self::Conflict | Self::SlowStore => 0.3,
            Self::Unavailable | Self::UnknownDone | Self::UnknownLost => 0.15,
            Self::ClientGone => 0.3,
            Self::Forgets
            | Self::LongOutage
            | Self::TooManyRows
            | Self::Stranger
            | Self::Forgery => 0.0,
        }
    }
}
