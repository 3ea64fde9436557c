//! Handles `RefundPayment`: gives money back after a capture. It is the pivot of return order,
//! which is a saga of its own with its own id.

use std::collections::HashMap;

use saga_core::{Answer, CommandId, Failure, Refusal, SagaId};
use saga_kit::{Asked, CallError, Event, HandleOutside, HandlerError, Intending, Intent};
use saga_proto::payment::v1::{PaymentRefunded, PaymentRefundedReply, RefundPayment};

use super::Cashier;
use crate::{
    rule::{self, Refund, RefundState, Reservation, answer::Refunding},
    table::Payments,
};

/// A refund to request. Its amount is reserved.
#[derive(Clone)]
pub struct Giving {
    provider_id: String,
    refund: Refund,
    look_up_first: bool,
}

/// The provider's answer to the refund.
pub struct Given {
    refund: Refund,
    found: Refunding,
}

impl<Tx: Payments> HandleOutside<RefundPayment, Tx> for Cashier {
    type Question = Giving;
    type Finding = Given;

    async fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<RefundPayment>],
    ) -> Result<Vec<Intent<Giving, PaymentRefundedReply>>, HandlerError> {
        let orders: Vec<Option<SagaId>> =
            commands.iter().map(|c| c.asked.command.order_id.parse().ok()).collect();
        let payments = super::lock(tx, orders.iter().flatten().copied()).await?;
        let known: Vec<SagaId> = payments.keys().copied().collect();
        let mut refunds: HashMap<SagaId, Vec<Refund>> = HashMap::new();
        for refund in tx.refunds(&known).await? {
            refunds.entry(refund.order).or_default().push(refund);
        }
        let mut reserved = Vec::new();
        let mut intents = Vec::with_capacity(commands.len());
        for (Intending { asked, resumed, .. }, order) in commands.iter().zip(orders) {
            let Some(order) = order else {
                let refusal = Refusal::new("INVALID_ORDER_ID", "the order's id is none");
                intents.push(Intent::Answer(Answer::Refused(refusal)));
                continue;
            };
            let of_order = refunds.entry(order).or_default();
            let amount = asked.command.amount.as_ref();
            intents.push(match rule::reserve(payments.get(&order), of_order, asked.saga, amount) {
                Reservation::Ask { provider_id, refund } => {
                    reserved.push(refund.clone());
                    Intent::Ask(Giving { provider_id, refund, look_up_first: *resumed })
                }
                Reservation::Answer(answer) => Intent::Answer(answer),
            });
        }
        if !reserved.is_empty() {
            tx.save_refunds(&reserved).await?;
        }
        Ok(intents)
    }

    async fn call(&self, id: &CommandId, giving: &Giving) -> Result<Given, CallError> {
        let Giving { provider_id, refund, look_up_first } = giving;
        let key = id.to_string();
        let found = self.provider.refund(&key, provider_id, &refund.amount, *look_up_first).await?;
        Ok(Given { refund: refund.clone(), found })
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<RefundPayment>, &Given)],
    ) -> Result<Vec<Answer<PaymentRefundedReply>>, HandlerError> {
        let mut payments = super::lock(tx, found.iter().map(|(_, f)| f.refund.order)).await?;
        let (mut refunds, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (_, Given { refund, found }) in found {
            let mut refund = Refund { state: RefundState::Intended, ..refund.clone() };
            let settled = payments
                .get_mut(&refund.order)
                .and_then(|payment| rule::settle_refund(payment, &mut refund, found))
                .ok_or_else(|| {
                    let order = refund.order;
                    Failure::Permanent(format!("the refunded payment of {order} is not captured"))
                })?;
            refunds.push(refund);
            entries.extend(settled.entries);
            answers.push(settled.answer);
        }
        // Each payment is written once, even if several of its refunds are in the batch.
        let payments: Vec<_> = payments.into_values().collect();
        tx.save(&payments, &entries).await?;
        tx.save_refunds(&refunds).await?;
        Ok(answers)
    }

    fn event(
        &self,
        asked: &Asked<RefundPayment>,
        answer: &Answer<PaymentRefundedReply>,
    ) -> Option<Event> {
        match answer {
            Answer::Done(PaymentRefundedReply {}) => Some(Event::of(&PaymentRefunded {
                order_id: asked.command.order_id.clone(),
                amount: asked.command.amount.clone(),
            })),
            Answer::Refused(_) => None,
        }
    }
}
