//! Handles `VoidAuthorisation`: cancels a hold, whether or not one is on record.

use saga_core::{Answer, CommandId, Direction};
use saga_kit::{Asked, CallError, Event, HandleOutside, HandlerError, Intending, Intent};
use saga_proto::{
    Money,
    payment::v1::{PaymentVoided, PaymentVoidedReply, VoidAuthorisation},
};

use super::Cashier;
use crate::{
    rule::{self, Undo, answer::Cancellation},
    table::Payments,
};

/// A hold to cancel.
pub struct Release(Undo);

/// The provider's answer to the cancellation.
pub struct Released {
    intended: Option<Money>,
    found: Cancellation,
}

/// Returns the id of the action that a compensation belongs to.
fn action_of(id: &CommandId) -> CommandId {
    CommandId { direction: Direction::Action, ..id.clone() }
}

/// Returns the id of the compensation that an action belongs to.
pub(super) fn undo_of(id: &CommandId) -> CommandId {
    CommandId { direction: Direction::Compensation, ..id.clone() }
}

impl<Tx: Payments> HandleOutside<VoidAuthorisation, Tx> for Cashier {
    type Question = Release;
    type Finding = Released;

    async fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<VoidAuthorisation>],
    ) -> Result<Vec<Intent<Release, PaymentVoidedReply>>, HandlerError> {
        let payments = super::lock(tx, commands.iter().map(|c| c.asked.saga)).await?;
        let mut closed = Vec::new();
        let mut intent = |c: &Intending<VoidAuthorisation>| {
            let order = c.asked.saga;
            match rule::undo(payments.get(&order)) {
                Undo::Answer(answer) => Intent::Answer(answer),
                Undo::ByKey { intended } if c.never_sent => {
                    let found = Cancellation::NothingHeld;
                    let settled = rule::settle_undo(order, intended.as_ref(), &found);
                    closed.extend(settled.payment);
                    Intent::Answer(settled.answer)
                }
                undo @ (Undo::Known { .. } | Undo::ByKey { .. }) => Intent::Ask(Release(undo)),
            }
        };
        let intents = commands.iter().map(&mut intent).collect();
        tx.save(&closed, &[]).await?;
        Ok(intents)
    }

    async fn call(&self, id: &CommandId, Release(undo): &Release) -> Result<Released, CallError> {
        let key = id.to_string();
        let (intended, found) = match undo {
            Undo::Known { provider_id, amount } => {
                (Some(amount.clone()), self.provider.cancel(&key, provider_id, amount).await?)
            }
            Undo::ByKey { intended } => {
                let action = action_of(id).to_string();
                (intended.clone(), self.provider.release(&action, &key).await?)
            }
            Undo::Answer(_) => {
                return Err(CallError::NotSent("there is nothing to ask".to_owned()));
            }
        };
        Ok(Released { intended, found })
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<VoidAuthorisation>, &Released)],
    ) -> Result<Vec<Answer<PaymentVoidedReply>>, HandlerError> {
        let (mut payments, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (asked, Released { intended, found }) in found {
            let settled = rule::settle_undo(asked.saga, intended.as_ref(), found);
            payments.extend(settled.payment);
            entries.extend(settled.entries);
            answers.push(settled.answer);
        }
        tx.save(&payments, &entries).await?;
        Ok(answers)
    }

    fn event(
        &self,
        asked: &Asked<VoidAuthorisation>,
        answer: &Answer<PaymentVoidedReply>,
    ) -> Option<Event> {
        match answer {
            Answer::Done(PaymentVoidedReply { was_held: true }) => {
                Some(Event::of(&PaymentVoided { order_id: asked.saga.to_string() }))
            }
            Answer::Done(PaymentVoidedReply { was_held: false }) | Answer::Refused(_) => None,
        }
    }
}
