//! Handles `CapturePayment`: takes the money that is held. It is the pivot of place order.

use saga_core::{Answer, CommandId};
use saga_kit::{Asked, CallError, Event, HandleOutside, HandlerError, Intending, Intent, Priority};
use saga_proto::{
    Money,
    payment::v1::{CapturePayment, PaymentCaptured, PaymentCapturedReply},
};

use super::Cashier;
use crate::{
    rule::{self, Take, answer::Capture},
    table::Payments,
};

/// The request of a capture.
#[derive(Clone)]
pub enum Taking {
    /// Capture this hold.
    Hold {
        /// The provider's id for the payment.
        provider_id: String,
        /// The amount that is held.
        amount: Money,
        /// True if the capture may have been requested before.
        look_up_first: bool,
    },
    /// No hold is known: look up the result of a request under the capture's key.
    LookUp,
}

/// The provider's answer to the capture.
pub struct Taken {
    found: Capture,
    looked_up: bool,
}

impl<Tx: Payments> HandleOutside<CapturePayment, Tx> for Cashier {
    type Question = Taking;
    type Finding = Taken;

    /// Capture is the pivot: until its answer is known, nothing can be undone.
    const PRIORITY: Priority = Priority::Urgent;

    async fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<CapturePayment>],
    ) -> Result<Vec<Intent<Taking, PaymentCapturedReply>>, HandlerError> {
        let payments = super::lock(tx, commands.iter().map(|c| c.asked.saga)).await?;
        let intent = |c: &Intending<CapturePayment>| match rule::take(payments.get(&c.asked.saga)) {
            Take::Hold { provider_id, amount } => {
                Intent::Ask(Taking::Hold { provider_id, amount, look_up_first: c.resumed })
            }
            Take::LookUp => Intent::Ask(Taking::LookUp),
            Take::Answer(answer) => Intent::Answer(answer),
        };
        Ok(commands.iter().map(intent).collect())
    }

    async fn call(&self, id: &CommandId, asked: &Taking) -> Result<Taken, CallError> {
        let key = id.to_string();
        let (found, looked_up) = match asked {
            Taking::Hold { provider_id, amount, look_up_first } => {
                (self.provider.capture(&key, provider_id, amount, *look_up_first).await?, false)
            }
            Taking::LookUp => (self.provider.look_up_capture(&key).await?, true),
        };
        Ok(Taken { found, looked_up })
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<CapturePayment>, &Taken)],
    ) -> Result<Vec<Answer<PaymentCapturedReply>>, HandlerError> {
        let (mut payments, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (asked, Taken { found, looked_up }) in found {
            let settled = rule::settle_capture(asked.saga, found, *looked_up);
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
