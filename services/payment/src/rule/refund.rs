//! The rules of refunds: how much of a captured payment may be refunded, and to which saga.

use saga_core::{Answer, Refusal, SagaId};
use saga_proto::{Money, payment::v1::PaymentRefundedReply};

use super::{Entry, Kind, Payment, Settled, State, answer::Refunding};

/// One saga's refund of an order's payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The saga that returns the order. It has exactly one refund.
    pub saga: SagaId,
    /// The order's id.
    pub order: SagaId,
    /// The amount to refund.
    pub amount: Money,
    /// The refund's state.
    pub state: RefundState,
}

/// The state of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundState {
    /// The amount is reserved, and the provider's answer is not known.
    Intended,
    /// The money was refunded.
    Done,
    /// The provider refused, so the amount is no longer reserved.
    Refused,
}

/// The decision before the provider is asked for a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// Ask the provider for this refund, whose amount is reserved.
    Ask { provider_id: String, refund: Refund },
    /// No call to the provider is needed: answer at once.
    Answer(Answer<PaymentRefundedReply>),
}

/// Reserves an amount of a payment for a refund. `refunds` are all refunds of the order, read under
/// the payment's lock. A new refund is added to them, so that the next command of the batch sees
/// it.
pub(crate) fn reserve(
    payment: Option<&Payment>,
    refunds: &mut Vec<Refund>,
    saga: SagaId,
    amount: Option<&Money>,
) -> Reservation {
    let refused = |code, message| Reservation::Answer(Answer::Refused(Refusal::new(code, message)));
    let amount = match super::payable(amount) {
        Ok(amount) => amount,
        Err(refusal) => return Reservation::Answer(Answer::Refused(refusal)),
    };
    let Some(Payment { order, amount: captured, state: State::Captured { provider_id, .. } }) =
        payment
    else {
        return refused("NOT_CAPTURED", "no money was taken for this order");
    };
    if let Some(own) = refunds.iter().find(|refund| refund.saga == saga) {
        return match own.state {
            RefundState::Intended => {
                Reservation::Ask { provider_id: provider_id.clone(), refund: own.clone() }
            }
            RefundState::Done => Reservation::Answer(Answer::Done(PaymentRefundedReply {})),
            RefundState::Refused => refused("REFUND_REFUSED", "the provider refused the refund"),
        };
    }
    if amount.currency != captured.currency {
        return refused("CURRENCY_MISMATCH", "the payment was in another currency");
    }
    let reserved: i64 = refunds
        .iter()
        .filter(|refund| refund.state != RefundState::Refused)
        .map(|refund| refund.amount.minor_units)
        .sum();
    // Each refund was reserved by this rule, so the sum is at most the captured amount.
    if amount.minor_units > captured.minor_units - reserved {
        return refused("REFUND_EXCEEDS_CAPTURED", "more than is left of what was taken");
    }
    let refund = Refund { saga, order: *order, amount, state: RefundState::Intended };
    refunds.push(refund.clone());
    Reservation::Ask { provider_id: provider_id.clone(), refund }
}

/// Decides on the result of a refund. `payment` is the locked row; this function updates it, so
/// that the next refund of the batch sees the change. Returns `None` if the payment is not
/// captured, which is impossible while a refund is reserved.
pub(crate) fn settle_refund(
    payment: &mut Payment,
    refund: &mut Refund,
    found: &Refunding,
) -> Option<Settled<PaymentRefundedReply>> {
    let State::Captured { refunded, .. } = &mut payment.state else { return None };
    match found {
        Refunding::Refunded => {
            *refunded += refund.amount.minor_units;
            refund.state = RefundState::Done;
            Some(Settled {
                entries: vec![Entry {
                    saga: refund.saga,
                    order: refund.order,
                    kind: Kind::Refunded,
                    amount: refund.amount.clone(),
                }],
                payment: Some(payment.clone()),
                answer: Answer::Done(PaymentRefundedReply {}),
            })
        }
        Refunding::Refused(refusal) => {
            refund.state = RefundState::Refused;
            Some(Settled {
                payment: None,
                entries: Vec::new(),
                answer: Answer::Refused(refusal.clone()),
            })
        }
    }
}
