//! The rules of payments: pure functions without database, provider or clock.
//!
//! Each command has two rules. The first runs before the provider is called, and decides which
//! request to send. The second runs after the call, and decides what to write and what to answer.
//! `rule/answer.rs` reads the provider's answers.

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

/// The payment for one order. The order's id is the id of the saga that places it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The order's id.
    pub order: SagaId,
    /// The amount to be paid.
    pub amount: Money,
    /// The payment's state.
    pub state: State,
}

/// The state of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The provider is about to be asked for a hold, or its answer is not known.
    Authorising,
    /// The provider holds the money.
    Authorised {
        /// The provider's id for the payment.
        provider_id: String,
    },
    /// The provider refused to hold the money.
    Declined {
        /// The provider's id for the payment, if it created one.
        provider_id: Option<String>,
        /// The reason for the refusal, as a stable code.
        code: String,
    },
    /// The hold was cancelled, or there never was one.
    Voided {
        /// The provider's id for the payment, if there was a hold.
        provider_id: Option<String>,
    },
    /// The money was captured.
    Captured {
        /// The provider's id for the payment.
        provider_id: String,
        /// The part of the amount that was refunded, in minor units.
        refunded: i64,
    },
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The saga that sent the command: the one that placed the order, or the one that returned it.
    pub saga: SagaId,
    /// The order's id.
    pub order: SagaId,
    /// The kind of the line. A saga has at most one line of each kind.
    pub kind: Kind,
    /// The amount of money.
    pub amount: Money,
}

/// The kind of a ledger line: what happened to a customer's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The money was held.
    Authorised,
    /// The provider refused to hold the money.
    Declined,
    /// The hold was cancelled.
    Voided,
    /// The money was captured.
    Captured,
    /// Some or all of the money was refunded.
    Refunded,
}

impl Kind {
    /// Returns the kind's text in the ledger.
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

/// The decision of a rule: the payment and ledger lines to write, and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled<R> {
    pub(crate) payment: Option<Payment>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) answer: Answer<R>,
}

/// Checks the amount of a hold. Returns a refusal if it is not positive or has no currency.
pub(crate) fn payable(amount: Option<&Money>) -> Result<Money, Refusal> {
    match amount {
        Some(amount) if amount.minor_units > 0 && amount.has_currency() => Ok(amount.clone()),
        Some(_) | None => {
            Err(Refusal::new("INVALID_AMOUNT", "the amount must be positive and have a currency"))
        }
    }
}

/// Decides on the result of a request for a hold.
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

/// The decision on how to cancel a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// The hold is on record: cancel it.
    Known { provider_id: String, amount: Money },
    /// The action's answer is not on record: cancel the payment under the action's key, if there is
    /// one. The amount is known if the intent is on record.
    ByKey { intended: Option<Money> },
    /// No call to the provider is needed: answer at once.
    Answer(Answer<PaymentVoidedReply>),
}

/// Decides how to cancel a hold, before the call to the provider.
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

/// Decides on the result of cancelling a hold. `intended` is the amount of the intent on record.
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
            // If the answer to the hold was lost, its ledger line is missing. A line that exists
            // already is not written again.
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

/// The decision on how to capture held money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Capture this hold.
    Hold { provider_id: String, amount: Money },
    /// No hold is on record: look up the result under the capture's key (semantics 21). The
    /// database may have been restored from a backup that is older than the capture, so a refusal
    /// could be untrue.
    LookUp,
    /// No call to the provider is needed: answer at once.
    Answer(Answer<PaymentCapturedReply>),
}

/// Decides how to capture held money, before the call to the provider.
pub(crate) fn take(payment: Option<&Payment>) -> Take {
    match payment {
        Some(Payment { amount, state: State::Authorised { provider_id }, .. }) => {
            Take::Hold { provider_id: provider_id.clone(), amount: amount.clone() }
        }
        // A refusal would be wrong here: it would say that the capture did not happen.
        Some(Payment { amount, state: State::Captured { .. }, .. }) => {
            Take::Answer(captured(amount))
        }
        Some(Payment { state: State::Declined { .. } | State::Voided { .. }, .. }) => {
            Take::Answer(Answer::Refused(not_authorised()))
        }
        Some(Payment { state: State::Authorising, .. }) | None => Take::LookUp,
    }
}

/// Decides on the result of a capture. If the provider refused it, the payment stays authorised,
/// and the compensation that follows cancels the hold.
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
            // If the answer to the hold is not on record, its ledger line is missing. A line that
            // exists already is not written again.
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
