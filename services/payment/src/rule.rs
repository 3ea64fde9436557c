//! The rules of a payment. Pure: no database, no provider, no clock.
//!
//! Each command has two rules. One runs before the provider is asked, and decides what to ask.
//! The other runs after, and decides what to write and what to answer. `rule/answer.rs` reads
//! the provider's answers.

pub(crate) mod answer;
mod refund;
#[cfg(test)]
mod tests;

use saga_core::{Answer, Refusal, SagaId};
use saga_proto::{
    Money,
    payment::v1::{PaymentAuthorisedReply, PaymentCapturedReply, PaymentVoidedReply},
};

use answer::{Authorisation, Cancellation, Capture};

pub use refund::{Refund, RefundState};
pub(crate) use refund::{Reservation, reserve, settle_refund};

/// The payment of one order. The saga's id is the order's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The order.
    pub order: SagaId,
    /// The amount to be paid.
    pub amount: Money,
    /// Its state.
    pub state: State,
}

/// The state of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The provider is about to be asked, or its answer is not known.
    Authorising,
    /// The money is held.
    Authorised {
        /// The provider's name for the payment.
        provider_id: String,
    },
    /// The provider refused to hold it.
    Declined {
        /// The provider's name for the payment, if it made one.
        provider_id: Option<String>,
        /// The reason, as a stable code.
        code: String,
    },
    /// The hold was let go, or there never was one.
    Voided {
        /// The provider's name for the payment, if there was a hold.
        provider_id: Option<String>,
    },
    /// The money is ours.
    Captured {
        /// The provider's name for the payment.
        provider_id: String,
        /// The amount of it that was given back, in minor units.
        refunded: i64,
    },
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The saga that asked: the order's, or that of its return.
    pub saga: SagaId,
    /// The order.
    pub order: SagaId,
    /// The kind of line. A saga has at most one of each.
    pub kind: Kind,
    /// The amount.
    pub amount: Money,
}

/// The kinds of ledger lines: each is something that happened to a customer's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was held.
    Authorised,
    /// The provider refused to hold it.
    Declined,
    /// The hold was let go.
    Voided,
    /// It was taken.
    Captured,
    /// Some or all of it was given back.
    Refunded,
}

impl Kind {
    /// The kind's word in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorised => "authorised",
            Self::Declined => "declined",
            Self::Voided => "voided",
            Self::Captured => "captured",
            Self::Refunded => "refunded",
        }
    }
}

/// The decision of a rule: what to write, and what to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled<R> {
    pub(crate) payment: Option<Payment>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) answer: Answer<R>,
}

/// Checks an amount that is to be asked for.
pub(crate) fn payable(amount: Option<&Money>) -> Result<Money, Refusal> {
    match amount {
        Some(amount) if amount.minor_units > 0 && amount.has_currency() => Ok(amount.clone()),
        Some(_) | None => {
            Err(Refusal::new("INVALID_AMOUNT", "the amount must be positive and have a currency"))
        }
    }
}

/// Decides after the provider was asked for a hold.
pub(crate) fn settle_authorisation(
    order: SagaId,
    amount: &Money,
    found: &Authorisation,
) -> Settled<PaymentAuthorisedReply> {
    let (state, kind, answer) = match found {
        Authorisation::Authorised { provider_id } => (
            State::Authorised { provider_id: provider_id.clone() },
            Kind::Authorised,
            Answer::Done(PaymentAuthorisedReply {}),
        ),
        Authorisation::Declined { provider_id, refusal } => (
            State::Declined { provider_id: provider_id.clone(), code: refusal.code.clone() },
            Kind::Declined,
            Answer::Refused(refusal.clone()),
        ),
    };
    Settled {
        payment: Some(Payment { order, amount: amount.clone(), state }),
        entries: vec![Entry { saga: order, order, kind, amount: amount.clone() }],
        answer,
    }
}

/// The way in which a hold is let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// The hold is known: cancel it.
    Known { provider_id: String, amount: Money },
    /// The action's answer is not on record: cancel whatever exists under its key. The amount is
    /// known if the intent is on record.
    ByKey { intended: Option<Money> },
    /// There is nothing to ask.
    Answer(Answer<PaymentVoidedReply>),
}

/// Decides before a hold is let go.
pub(crate) fn undo(payment: Option<&Payment>) -> Undo {
    let Some(Payment { amount, state, .. }) = payment else {
        return Undo::ByKey { intended: None };
    };
    match state {
        State::Authorising => Undo::ByKey { intended: Some(amount.clone()) },
        State::Authorised { provider_id } => {
            Undo::Known { provider_id: provider_id.clone(), amount: amount.clone() }
        }
        State::Declined { .. } => Undo::Answer(voided(false)),
        State::Voided { provider_id } => Undo::Answer(voided(provider_id.is_some())),
        State::Captured { .. } => Undo::Answer(Answer::Refused(already_captured())),
    }
}

/// Decides after a hold was let go. `intended` is the amount of the intent on record.
pub(crate) fn settle_undo(
    order: SagaId,
    intended: Option<&Money>,
    found: &Cancellation,
) -> Settled<PaymentVoidedReply> {
    let payment = |amount: &Money, provider_id| Payment {
        order,
        amount: amount.clone(),
        state: State::Voided { provider_id },
    };
    match found {
        Cancellation::Cancelled { provider_id, amount } => Settled {
            payment: Some(payment(amount, Some(provider_id.clone()))),
            // The hold's own line is missing if its answer was lost. If it is there, it is not
            // written again.
            entries: [Kind::Authorised, Kind::Voided]
                .map(|kind| Entry { saga: order, order, kind, amount: amount.clone() })
                .to_vec(),
            answer: voided(true),
        },
        Cancellation::NothingHeld => Settled {
            payment: intended.map(|amount| payment(amount, None)),
            entries: Vec::new(),
            answer: voided(false),
        },
        Cancellation::AlreadyCaptured => Settled {
            payment: None,
            entries: Vec::new(),
            answer: Answer::Refused(already_captured()),
        },
    }
}

fn voided(was_held: bool) -> Answer<PaymentVoidedReply> {
    Answer::Done(PaymentVoidedReply { was_held })
}

fn already_captured() -> Refusal {
    Refusal::new("ALREADY_CAPTURED", "the money has been taken: it can only be refunded")
}

/// The way in which held money is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Capture this hold.
    Hold { provider_id: String, amount: Money },
    /// No hold is on record: ask what became of the capture's key (semantics 21). This database may
    /// have been restored from before the capture, so that a refusal could be untrue.
    LookUp,
    /// There is nothing to ask.
    Answer(Answer<PaymentCapturedReply>),
}

/// Decides before held money is taken.
pub(crate) fn take(payment: Option<&Payment>) -> Take {
    match payment {
        Some(Payment { amount, state: State::Authorised { provider_id }, .. }) => {
            Take::Hold { provider_id: provider_id.clone(), amount: amount.clone() }
        }
        // This is not refused: a refusal would say that the capture did not happen.
        Some(Payment { amount, state: State::Captured { .. }, .. }) => {
            Take::Answer(captured(amount))
        }
        Some(Payment { state: State::Declined { .. } | State::Voided { .. }, .. }) => {
            Take::Answer(Answer::Refused(not_authorised()))
        }
        Some(Payment { state: State::Authorising, .. }) | None => Take::LookUp,
    }
}

/// Decides after the provider was asked to take held money. If it refused, the hold stays as it
/// was, and the compensation that follows lets it go.
pub(crate) fn settle_capture(
    order: SagaId,
    found: &Capture,
    looked_up: bool,
) -> Settled<PaymentCapturedReply> {
    match found {
        Capture::Captured { provider_id, amount } => Settled {
            payment: Some(Payment {
                order,
                amount: amount.clone(),
                state: State::Captured { provider_id: provider_id.clone(), refunded: 0 },
            }),
            // The hold's own line is missing if its answer is not on record. If it is there, it is not
            // written again.
            entries: [Kind::Authorised, Kind::Captured][usize::from(!looked_up)..]
                .iter()
                .map(|kind| Entry { saga: order, order, kind: *kind, amount: amount.clone() })
                .collect(),
            answer: captured(amount),
        },
        Capture::Refused(refusal) => {
            Settled { payment: None, entries: Vec::new(), answer: Answer::Refused(refusal.clone()) }
        }
    }
}

fn captured(amount: &Money) -> Answer<PaymentCapturedReply> {
    Answer::Done(PaymentCapturedReply { amount: Some(amount.clone()) })
}

pub(crate) fn not_authorised() -> Refusal {
    Refusal::new("NOT_AUTHORISED", "no money is held for this order")
}
