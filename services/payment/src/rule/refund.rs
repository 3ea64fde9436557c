//! The rules of refunds: how much of a captured payment may be given back, and by which saga.

use saga_core::{Answer, Refusal, SagaId};
use saga_proto::{Money, payment::v1::PaymentRefundedReply};

use super::{Entry, Kind, Payment, Settled, State, answer::Refunding};

/// One saga's refund of an order's payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The saga that returns the order. It has one refund.
    pub saga: SagaId,
    /// The order.
    pub order: SagaId,
    /// The amount.
    pub amount: Money,
    /// Its state.
    pub state: RefundState,
}

/// The state of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundState {
    /// Its amount is reserved; the provider's answer is not known.
    Intended,
    /// The money was given back.
    Done,
    /// The provider refused, so nothing is reserved.
    Refused,
}

/// The decision before money is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// Ask the provider. The refund is among the order's.
    Ask { provider_id: String, refund: Refund },
    /// There is nothing to ask.
    Answer(Answer<PaymentRefundedReply>),
}

/// Reserves an amount of a payment. `refunds` are all refunds of the order, read under the
/// payment's lock. A new one is added to them, so that the next command of the batch sees it.
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
    // Each was reserved by this rule, so the sum is at most what was taken.
    if amount.minor_units > captured.minor_units - reserved {
        return refused("REFUND_EXCEEDS_CAPTURED", "more than is left of what was taken");
    }
    let refund = Refund { saga, order: *order, amount, state: RefundState::Intended };
    refunds.push(refund.clone());
    Reservation::Ask { provider_id: provider_id.clone(), refund }
}

/// Decides after the provider was asked to give money back. `payment` is its locked row. This
/// changes it, so that the next refund of the batch sees it. Returns `None` if the payment is not
/// captured, which cannot be while a refund is reserved.
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
