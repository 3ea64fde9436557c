//! Takes the money that is held. This is the pivot of place order.

use saga_core::{Answer, CommandId};
use saga_kit::{Asked, CallError, Event, HandleOutside, HandlerError, Intending, Intent};
use saga_proto::{
    Money,
    payment::v1::{CapturePayment, PaymentCaptured, PaymentCapturedReply},
};

use super::Cashier;
use crate::{
    rule::{self, Take, answer::Capture},
    table::Payments,
};

/// Held money to take.
#[derive(Clone)]
pub struct Taking {
    provider_id: String,
    amount: Money,
    look_up_first: bool,
}

/// The result of taking it.
pub struct Taken {
    asked: Taking,
    found: Capture,
}

impl<Tx: Payments> HandleOutside<CapturePayment, Tx> for Cashier {
    type Question = Taking;
    type Finding = Taken;

    async fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<CapturePayment>],
    ) -> Result<Vec<Intent<Taking, PaymentCapturedReply>>, HandlerError> {
        let payments = super::lock(tx, commands.iter().map(|c| c.asked.saga)).await?;
        let intent = |c: &Intending<CapturePayment>| match rule::take(payments.get(&c.asked.saga)) {
            Take::Hold { provider_id, amount } => {
                Intent::Ask(Taking { provider_id, amount, look_up_first: c.resumed })
            }
            Take::Answer(answer) => Intent::Answer(answer),
        };
        Ok(commands.iter().map(intent).collect())
    }

    async fn call(&self, id: &CommandId, asked: &Taking) -> Result<Taken, CallError> {
        let Taking { provider_id, amount, look_up_first } = asked;
        let key = id.to_string();
        let found = self.provider.capture(&key, provider_id, amount, *look_up_first).await?;
        Ok(Taken { asked: asked.clone(), found })
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<CapturePayment>, &Taken)],
    ) -> Result<Vec<Answer<PaymentCapturedReply>>, HandlerError> {
        let (mut payments, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (asked, Taken { asked: Taking { provider_id, amount, .. }, found }) in found {
            let settled = rule::settle_capture(asked.saga, provider_id, amount, found);
            payments.extend(settled.payment);
            entries.extend(settled.entries);
            answers.push(settled.answer);
        }
        tx.save(&payments, &entries).await?;
        Ok(answers)
    }

    fn event(
        &self,
        asked: &Asked<CapturePayment>,
        answer: &Answer<PaymentCapturedReply>,
    ) -> Option<Event> {
        match answer {
            Answer::Done(PaymentCapturedReply { amount }) => Some(Event::of(&PaymentCaptured {
                order_id: asked.saga.to_string(),
                amount: amount.clone(),
            })),
            Answer::Refused(_) => None,
        }
    }
}
