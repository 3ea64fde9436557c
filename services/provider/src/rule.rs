//! The rules by which a payment changes its state. Pure: no database, no clock, no ids.

use crate::tokens::Behaviour;

/// A payment, with all data that decides how it may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) id: String,
    pub(crate) reference: String,
    /// The amount that was authorised (or declined), in minor units; always positive.
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) state: State,
    pub(crate) on_capture: OnCapture,
}

/// A payment's state. Only a captured payment has totals, and they come from the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Authorised,
    Declined(DeclineCode),
    Captured { captured: i64, refunded: i64 },
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeclineCode {
    CardDeclined,
    InsufficientFunds,
}

/// How the card behaves when this payment is captured. It is stored with the payment, because the
/// token is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnCapture {
    Capture,
    LoseAnswer,
    Decline,
}

/// An entry for the ledger, without its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) amount: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Authorised,
    Captured,
    Cancelled,
    Refunded,
}

/// The effect of an operation: the payment's new state, and the entry to write (`None` if nothing
/// changes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) after: State,
    pub(crate) entry: Option<Entry>,
}

/// The reasons for refusing an operation. A refusal is recorded like any other answer: a repeat
/// under the same key gets it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the payment has been captured")]
    Captured,
    #[error("the payment has been cancelled")]
    Cancelled,
    #[error("the payment was declined")]
    Declined,
    #[error("the payment has not been captured, so there is nothing to refund")]
    NotCaptured,
    #[error("only the whole amount of {authorised} can be captured")]
    AmountMismatch { authorised: i64 },
    #[error("at most {refundable} can still be refunded")]
    RefundExceedsCaptured { refundable: i64 },
    #[error("the card's bank declined the capture; no money has moved")]
    CaptureDeclined,
}

/// Authorises or declines a new payment, depending on its token. `tok_down` and the slow tokens are
/// approved here, because their outages and delays are over by then.
pub(crate) fn authorise(amount: i64, behaviour: Behaviour) -> (Effect, OnCapture) {
    let declined = |code| Effect { after: State::Declined(code), entry: None };
    let approved =
        Effect { after: State::Authorised, entry: Some(Entry { kind: Kind::Authorised, amount }) };
    match behaviour {
        Behaviour::Decline => (declined(DeclineCode::CardDeclined), OnCapture::Capture),
        Behaviour::InsufficientFunds => {
            (declined(DeclineCode::InsufficientFunds), OnCapture::Capture)
        }
        Behaviour::CaptureAnswerLost => (approved, OnCapture::LoseAnswer),
        Behaviour::CaptureDeclined => (approved, OnCapture::Decline),
        Behaviour::Approve
        | Behaviour::Slow
        | Behaviour::VerySlow
        | Behaviour::AnswerLost
        | Behaviour::Down => (approved, OnCapture::Capture),
    }
}

/// Captures the whole amount. A payment can be captured once.
pub(crate) fn capture(payment: &Payment, amount: i64) -> Result<Effect, Refusal> {
    match payment.state {
        State::Captured { .. } => Err(Refusal::Captured),
        State::Cancelled => Err(Refusal::Cancelled),
        State::Declined(_) => Err(Refusal::Declined),
        State::Authorised if amount != payment.amount => {
            Err(Refusal::AmountMismatch { authorised: payment.amount })
        }
        State::Authorised if payment.on_capture == OnCapture::Decline => {
            Err(Refusal::CaptureDeclined)
        }
        State::Authorised => Ok(Effect {
            after: State::Captured { captured: amount, refunded: 0 },
            entry: Some(Entry { kind: Kind::Captured, amount }),
        }),
    }
}

/// Releases an authorised amount. Cancelling again is allowed, and writes nothing.
pub(crate) fn cancel(payment: &Payment) -> Result<Effect, Refusal> {
    match payment.state {
        State::Captured { .. } => Err(Refusal::Captured),
        State::Declined(_) => Err(Refusal::Declined),
        State::Cancelled => Ok(Effect { after: State::Cancelled, entry: None }),
        State::Authorised => Ok(Effect {
            after: State::Cancelled,
            entry: Some(Entry { kind: Kind::Cancelled, amount: payment.amount }),
        }),
    }
}

/// Refunds captured money, in any number of parts, but never more than was captured.
pub(crate) fn refund(payment: &Payment, amount: i64) -> Result<Effect, Refusal> {
    match payment.state {
        State::Authorised => Err(Refusal::NotCaptured),
        State::Cancelled => Err(Refusal::Cancelled),
        State::Declined(_) => Err(Refusal::Declined),
        State::Captured { captured, refunded } => match refunded.checked_add(amount) {
            Some(refunded) if refunded <= captured => Ok(Effect {
                after: State::Captured { captured, refunded },
                entry: Some(Entry { kind: Kind::Refunded, amount }),
            }),
            Some(_) | None => {
                Err(Refusal::RefundExceedsCaptured { refundable: captured - refunded })
            }
        },
    }
}

impl Refusal {
    /// Returns the stable code, for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Captured => "payment_captured",
            Self::Cancelled => "payment_cancelled",
            Self::Declined => "payment_declined",
            Self::NotCaptured => "payment_not_captured",
            Self::AmountMismatch { .. } => "amount_mismatch",
            Self::RefundExceedsCaptured { .. } => "refund_exceeds_captured",
            Self::CaptureDeclined => "capture_declined",
        }
    }
}

impl State {
    /// Returns the state's name in JSON and in `payments.status`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorised => "authorised",
            Self::Declined(_) => "declined",
            Self::Captured { .. } => "captured",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the captured and the refunded amount, in minor units.
    pub(crate) fn totals(self) -> (i64, i64) {
        match self {
            Self::Captured { captured, refunded } => (captured, refunded),
            Self::Authorised | Self::Declined(_) | Self::Cancelled => (0, 0),
        }
    }

    /// Returns the reason of a decline.
    pub(crate) fn decline_code(self) -> Option<&'static str> {
        match self {
            Self::Declined(code) => Some(code.name()),
            Self::Authorised | Self::Captured { .. } | Self::Cancelled => None,
        }
    }
}

impl DeclineCode {
    pub(crate) const ALL: [Self; 2] = [Self::CardDeclined, Self::InsufficientFunds];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CardDeclined => "card_declined",
            Self::InsufficientFunds => "insufficient_funds",
        }
    }
}

impl OnCapture {
    pub(crate) const ALL: [Self; 3] = [Self::Capture, Self::LoseAnswer, Self::Decline];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::LoseAnswer => "lose_answer",
            Self::Decline => "decline",
        }
    }
}

impl Kind {
    /// Returns the name in `ledger.kind`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorised => "authorised",
            Self::Captured => "captured",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(state: State) -> Payment {
        Payment {
            id: "pay_1".to_owned(),
            reference: "order-1".to_owned(),
            amount: 100,
            currency: "EUR".to_owned(),
            state,
            on_capture: OnCapture::Capture,
        }
    }

    #[test]
    fn only_the_whole_amount_is_captured_and_only_once() {
        let authorised = payment(State::Authorised);
        assert_eq!(capture(&authorised, 99), Err(Refusal::AmountMismatch { authorised: 100 }));
        assert_eq!(capture(&authorised, 101), Err(Refusal::AmountMismatch { authorised: 100 }));
        let effect = capture(&authorised, 100).expect("the whole amount");
        assert_eq!(effect.after, State::Captured { captured: 100, refunded: 0 });
        assert_eq!(capture(&payment(effect.after), 100), Err(Refusal::Captured));
    }

    #[test]
    fn a_cancelled_payment_is_never_captured_and_a_captured_one_never_cancelled() {
        assert_eq!(capture(&payment(State::Cancelled), 100), Err(Refusal::Cancelled));
        assert_eq!(
            cancel(&payment(State::Captured { captured: 100, refunded: 100 })),
            Err(Refusal::Captured)
        );
    }

    #[test]
    fn cancelling_twice_writes_one_line() {
        let first =
            cancel(&payment(State::Authorised)).expect("an authorised payment can be cancelled");
        assert_eq!(first.entry, Some(Entry { kind: Kind::Cancelled, amount: 100 }));
        let second = cancel(&payment(first.after)).expect("twice is fine");
        assert_eq!(second, Effect { after: State::Cancelled, entry: None });
    }

    #[test]
    fn refunds_add_up_to_what_was_captured_and_no_further() {
        let captured = payment(State::Captured { captured: 100, refunded: 70 });
        assert_eq!(
            refund(&captured, 30).map(|effect| effect.after),
            Ok(State::Captured { captured: 100, refunded: 100 })
        );
        assert_eq!(refund(&captured, 31), Err(Refusal::RefundExceedsCaptured { refundable: 30 }));
        assert_eq!(
            refund(&captured, i64::MAX),
            Err(Refusal::RefundExceedsCaptured { refundable: 30 })
        );
        assert_eq!(refund(&payment(State::Authorised), 1), Err(Refusal::NotCaptured));
    }

    #[test]
    fn a_declined_payment_does_nothing_any_more() {
        let declined = payment(State::Declined(DeclineCode::CardDeclined));
        assert_eq!(capture(&declined, 100), Err(Refusal::Declined));
        assert_eq!(cancel(&declined), Err(Refusal::Declined));
        assert_eq!(refund(&declined, 1), Err(Refusal::Declined));
    }
}
