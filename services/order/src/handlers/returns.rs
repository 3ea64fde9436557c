//! Handles the commands of a return, one batch at a time: load, decide, save.

use saga_core::{Answer, SagaId};
use saga_kit::{Asked, Event, Handle, HandlerError};
use saga_proto::{
    Money,
    order::v1::{
        MarkReturned, OpenReturn, OrderReturned, OrderReturnedReply, RejectReturn, ReturnOpened,
        ReturnOpenedReply, ReturnRejected, ReturnRejectedReply,
    },
};
use uuid::Uuid;

use super::{OrderBook, done};
use crate::{
    returns::{self, Return, ReturnState, Returnable},
    table::Returns,
};

impl<T: Returns> Handle<OpenReturn, T> for OrderBook {
    /// Holds the pieces to be returned for each return. Pieces that one command holds are not
    /// available to later commands of the same batch.
    async fn handle(
        &self,
        orders: &mut T,
        commands: &[Asked<OpenReturn>],
    ) -> Result<Vec<Answer<ReturnOpenedReply>>, HandlerError> {
        // A malformed id matches no order.
        let ids: Vec<Option<SagaId>> =
            commands.iter().map(|asked| asked.command.order_id.parse().ok()).collect();
        let known: Vec<SagaId> = ids.iter().flatten().copied().collect();
        let mut known = orders.lock_returnable(&known).await?;
        let mut opened = Vec::new();
        let mut answers = Vec::with_capacity(commands.len());
        for (asked, id) in commands.iter().zip(ids) {
            let id = id.unwrap_or(SagaId(Uuid::nil()));
            answers.push(match returns::open(known.get_mut(&id), asked.saga, id, &asked.command) {
                Ok(new) => {
                    let order = known.get(&id);
                    let reply = ReturnOpenedReply {
                        lines: order.map(|o| o.priced(&new.pieces)).unwrap_or_default(),
                        amount: order.map(|o| Money::new(new.amount, o.currency.clone())),
                    };
                    opened.push(new);
                    Answer::Done(reply)
                }
                Err(refusal) => Answer::Refused(refusal),
            });
        }
        if !opened.is_empty() {
            orders.open(&opened).await?;
        }
        Ok(answers)
    }

    fn event(
        &self,
        asked: &Asked<OpenReturn>,
        answer: &Answer<ReturnOpenedReply>,
    ) -> Option<Event> {
        let Answer::Done(ReturnOpenedReply { lines, amount }) = answer else { return None };
        Some(Event::of(&ReturnOpened {
            return_id: asked.saga.to_string(),
            order_id: asked.command.order_id.clone(),
            lines: lines.clone(),
            amount: amount.clone(),
            reason: asked.command.reason.clone(),
        }))
    }
}

impl<T: Returns> Handle<RejectReturn, T> for OrderBook {
    /// Releases the pieces that each return holds.
    async fn handle(
        &self,
        orders: &mut T,
        commands: &[Asked<RejectReturn>],
    ) -> Result<Vec<Answer<ReturnRejectedReply>>, HandlerError> {
        end(orders, commands, ReturnState::Rejected, |known, _| ReturnRejectedReply {
            order_id: known.order.to_string(),
        })
        .await
    }

    fn event(
        &self,
        asked: &Asked<RejectReturn>,
        answer: &Answer<ReturnRejectedReply>,
    ) -> Option<Event> {
        let Answer::Done(ReturnRejectedReply { order_id }) = answer else { return None };
        let RejectReturn { reason_code, reason } = asked.command.clone();
        let (return_id, order_id) = (asked.saga.to_string(), order_id.clone());
        done(answer, || Event::of(&ReturnRejected { return_id, order_id, reason_code, reason }))
    }
}

impl<T: Returns> Handle<MarkReturned, T> for OrderBook {
    /// Marks the pieces that each return holds as returned.
    async fn handle(
        &self,
        orders: &mut T,
        commands: &[Asked<MarkReturned>],
    ) -> Result<Vec<Answer<OrderReturnedReply>>, HandlerError> {
        end(orders, commands, ReturnState::Done, |known, order| OrderReturnedReply {
            order_id: known.order.to_string(),
            lines: order.priced(&known.pieces),
            amount: Some(Money::new(known.amount, order.currency.clone())),
            whole: order.is_whole(),
        })
        .await
    }

    fn event(
        &self,
        asked: &Asked<MarkReturned>,
        answer: &Answer<OrderReturnedReply>,
    ) -> Option<Event> {
        let Answer::Done(reply) = answer else { return None };
        let OrderReturnedReply { order_id, lines, amount, whole } = reply.clone();
        let return_id = asked.saga.to_string();
        Some(Event::of(&OrderReturned { return_id, order_id, lines, amount, whole }))
    }
}

/// Locks the returns, then their orders, and applies the end of each return to its order.
async fn end<T: Returns, C: Sync, R>(
    orders: &mut T,
    commands: &[Asked<C>],
    to: ReturnState,
    reply: impl Fn(&Return, &Returnable) -> R,
) -> Result<Vec<Answer<R>>, HandlerError> {
    let ids: Vec<SagaId> = commands.iter().map(|asked| asked.saga).collect();
    let mut known = orders.lock_returns(&ids).await?;
    let of: Vec<SagaId> = known.values().map(|known| known.order).collect();
    let mut returnable = orders.lock_returnable(&of).await?;
    let mut ended = Vec::with_capacity(commands.len());
    let mut answers = Vec::with_capacity(commands.len());
    for id in ids {
        let found = known.get_mut(&id).and_then(|known| {
            let order = returnable.get_mut(&known.order)?;
            Some((known, order))
        });
        let Some((known, order)) = found else {
            answers.push(Answer::Refused(returns::no_such_return()));
            continue;
        };
        answers.push(match returns::end(order, known, to) {
            Ok(()) => {
                ended.push(known.clone());
                Answer::Done(reply(known, order))
            }
            Err(refusal) => Answer::Refused(refusal),
        });
    }
    if !ended.is_empty() {
        orders.close(&ended).await?;
    }
    Ok(answers)
}
