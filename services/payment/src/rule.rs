//! What may happen to a payment. Pure: no database, no provider, no clock.
//!
//! Each command has a rule for before the provider is asked (what to ask) and
//! one for after (what to write and what to answer). What the provider's words
//! mean is in `rule/answer.rs`.

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
    /// What is to be paid.
    pub amount: Money,
    /// Where it stands.
    pub state: State,
}

/// Where a payment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The provider is about to be asked, or its answer is not known.
    Authorising,
    /// The money is held.
    Authorised {
        /// The provider's name for the payment.
        provider_id: String,
    },
    /// The provider said no.
    Declined {
        /// The provider's name for the payment, if it made one.
        provider_id: Option<String>,
        /// Why: a stable code.
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
        /// How much of it was given back, in minor units.
        refunded: i64,
    },
}

/// One line of the ledger: something happened to somebody's money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The saga that asked: the order's, or that of its return.
    pub saga: SagaId,
    /// The order.
    pub order: SagaId,
    /// What happened. Once a saga.
    pub kind: Kind,
    /// How much.
    pub amount: Money,
}

/// What happened to somebody's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was held.
    Authorised,
    /// It was not to be had.
    Declined,
    /// The hold was let go.
    Voided,
    /// It was taken.
    Captured,
    /// It, or a part of it, was given back.
    Refunded,
}

impl Kind {
    /// The word in the ledger.
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

/// What to write, and what to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled<R> {
    pub(crate) payment: Option<Payment>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) answer: Answer<R>,
}

/// An amount that can be asked for, or why it cannot.
pub(crate) fn payable(amount: Option<&Money>) -> Result<Money, Refusal> {
    match amount {
        Some(amount) if amount.minor_units > 0 && amount.has_currency() => Ok(amount.clone()),
        Some(_) | None => {
            Err(Refusal::new("INVALID_AMOUNT", "the amount must be positive and have a currency"))
        }
    }
}

/// After the provider was asked for a hold.
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

/// How a hold is let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// The hold is known: cancel it.
    Known { provider_id: String, amount: Money },
    /// The action's answer is not on record: whatever stands under its key.
    /// With the amount, if the intent is on record.
    ByKey { intended: Option<Money> },
    /// There is nothing to ask.
    Answer(Answer<PaymentVoidedReply>),
}

/// Before a hold is let go.
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

/// After a hold was let go. `intended` is the amount of the intent on record.
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
            // The hold's own line is missing if its answer was lost; it is
            // written but once either way.
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

/// How held money is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Capture this hold.
    Hold { provider_id: String, amount: Money },
    /// There is nothing to ask.
    Answer(Answer<PaymentCapturedReply>),
}

/// Before held money is taken.
pub(crate) fn take(payment: Option<&Payment>) -> Take {
    match payment {
        Some(Payment { amount, state: State::Authorised { provider_id }, .. }) => {
            Take::Hold { provider_id: provider_id.clone(), amount: amount.clone() }
        }
        // A refusal would say that it did not happen.
        Some(Payment { amount, state: State::Captured { .. }, .. }) => {
            Take::Answer(captured(amount))
        }
        Some(Payment {
            state: State::Authorising | State::Declined { .. } | State::Voided { .. },
            ..
        })
        | None => Take::Answer(Answer::Refused(not_authorised())),
    }
}

/// After the provider was asked to take held money. Refused, the hold stands as
/// it was: the compensation that follows lets it go.
pub(crate) fn settle_capture(
    order: SagaId,
    provider_id: &str,
    amount: &Money,
    found: &Capture,
) -> Settled<PaymentCapturedReply> {
    match found {
        Capture::Captured => Settled {
            payment: Some(Payment {
                order,
                amount: amount.clone(),
                state: State::Captured { provider_id: provider_id.to_owned(), refunded: 0 },
            }),
            entries: vec![Entry {
                saga: order,
                order,
                kind: Kind::Captured,
                amount: amount.clone(),
            }],
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
