//! Handles `AuthorisePayment`: holds an order's amount on the card.

use saga_core::{Answer, CommandId};
use saga_kit::{Asked, CallError, Event, HandleOutside, HandlerError, Intending, Intent};
use saga_proto::{
    Money,
    payment::v1::{AuthorisePayment, PaymentAuthorised, PaymentAuthorisedReply, PaymentDeclined},
};

use super::Cashier;
use crate::{
    provider::Charge,
    rule::{self, Payment, State, answer::Authorisation},
    table::Payments,
};

/// A hold to request. It has no `Debug`, because it contains the card's token.
pub struct Hold {
    command: Asked<AuthorisePayment>,
    amount: Money,
    look_up_first: bool,
}

/// The provider's answer to the request for a hold.
pub struct HoldFound {
    amount: Money,
    found: Authorisation,
}

impl<Tx: Payments> HandleOutside<AuthorisePayment, Tx> for Cashier {
    type Question = Hold;
    type Finding = HoldFound;

    async fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<AuthorisePayment>],
    ) -> Result<Vec<Intent<Hold, PaymentAuthorisedReply>>, HandlerError> {
        let mut opened = Vec::with_capacity(commands.len());
        let mut intents = Vec::with_capacity(commands.len());
        for Intending { asked, resumed, .. } in commands {
            intents.push(match rule::payable(asked.command.amount.as_ref()) {
                Ok(amount) => {
                    opened.push(Payment {
                        order: asked.saga,
                        amount: amount.clone(),
                        state: State::Authorising,
                    });
                    Intent::Ask(Hold { command: asked.clone(), amount, look_up_first: *resumed })
                }
                Err(refusal) => Intent::Answer(Answer::Refused(refusal)),
            });
        }
        if !opened.is_empty() {
            tx.open(&opened).await?;
        }
        Ok(intents)
    }

    async fn call(&self, id: &CommandId, hold: &Hold) -> Result<HoldFound, CallError> {
        let charge = Charge {
            order: hold.command.saga,
            amount: &hold.amount,
            token: &hold.command.command.payment_token,
        };
        let found = self.provider.authorise(&id.to_string(), &charge, hold.look_up_first).await?;
        Ok(HoldFound { amount: hold.amount.clone(), found })
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<AuthorisePayment>, &HoldFound)],
    ) -> Result<Vec<Answer<PaymentAuthorisedReply>>, HandlerError> {
        let (mut payments, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (asked, HoldFound { amount, found }) in found {
            let settled = rule::settle_authorisation(asked.saga, amount, found);
            payments.extend(settled.payment);
            entries.extend(settled.entries);
            answers.push(settled.answer);
        }
        tx.save(&payments, &entries).await?;
        Ok(answers)
    }

    async fn retract(&self, id: &CommandId) -> Result<(), CallError> {
        let undo = super::void::undo_of(id);
        self.provider.release(&id.to_string(), &undo.to_string()).await?;
        Ok(())
    }

    fn event(
        &self,
        asked: &Asked<AuthorisePayment>,
        answer: &Answer<PaymentAuthorisedReply>,
    ) -> Option<Event> {
        let order_id = asked.saga.to_string();
        Some(match answer {
            Answer::Done(PaymentAuthorisedReply {}) => {
                Event::of(&PaymentAuthorised { order_id, amount: asked.command.amount.clone() })
            }
            Answer::Refused(refusal) => {
                Event::of(&PaymentDeclined { order_id, reason_code: refusal.code.clone() })
            }
        })
    }
}
