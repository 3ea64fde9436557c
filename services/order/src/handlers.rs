//! Handles the service's commands, one batch at a time: load, decide, save.

mod returns;

use std::collections::{HashMap, HashSet};

use saga_core::{Answer, Refusal, SagaId};
use saga_kit::{Asked, Event, Handle, HandlerError};
use saga_proto::order::v1::{
    ConfirmOrder, CreateOrder, OrderCancelled, OrderConfirmed, OrderConfirmedReply, OrderCreated,
    OrderPlaced, OrderRejected, OrderRejectedReply, RejectOrder,
};

use crate::{
    rule::{self, End, Known},
    table::{NewOrder, Orders},
};

/// Handles the order service's commands over any [`Orders`].
#[derive(Clone, Copy, Debug)]
pub struct OrderBook;

impl<T: Orders> Handle<CreateOrder, T> for OrderBook {
    /// Creates each order as PENDING.
    async fn handle(
        &self,
        orders: &mut T,
        commands: &[Asked<CreateOrder>],
    ) -> Result<Vec<Answer<OrderCreated>>, HandlerError> {
        let mut ids = HashSet::new();
        let verdicts: Vec<Result<(), Refusal>> = commands
            .iter()
            .map(|asked| {
                rule::create(&asked.command)?;
                if ids.insert(asked.saga) { Ok(()) } else { Err(exists()) }
            })
            .collect();
        let wanted: Vec<NewOrder<'_>> = commands
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| verdict.is_ok())
            .map(|(asked, _)| new(asked.saga, &asked.command))
            .collect();
        let created =
            if wanted.is_empty() { HashSet::new() } else { orders.insert(&wanted).await? };
        Ok(commands
            .iter()
            .zip(verdicts)
            .map(|(asked, verdict)| match verdict {
                Ok(()) if created.contains(&asked.saga) => Answer::Done(OrderCreated {}),
                Ok(()) => Answer::Refused(exists()),
                Err(refusal) => Answer::Refused(refusal),
            })
            .collect())
    }

    fn event(&self, asked: &Asked<CreateOrder>, answer: &Answer<OrderCreated>) -> Option<Event> {
        let CreateOrder { customer, lines, .. } = asked.command.clone();
        let order_id = asked.saga.to_string();
        done(answer, || Event::of(&OrderPlaced { order_id, customer, lines }))
    }
}

impl<T: Orders> Handle<RejectOrder, T> for OrderBook {
    /// Ends each order as REJECTED, or as CANCELLED. An order that was never created is created
    /// first, because its client was told that there is such an order.
    async fn handle(
        &self,
        orders: &mut T,
        commands: &[Asked<RejectOrder>],
    ) -> Result<Vec<Answer<OrderRejectedReply>>, HandlerError> {
        let mut known = lock(orders, commands).await?;
        let missing: Vec<NewOrder<'_>> = commands
            .iter()
            .filter(|asked| !known.contains_key(&asked.saga))
            .filter_map(|asked| Some(new(asked.saga, creatable(&asked.command)?)))
            .collect();
        if !missing.is_empty() {
            orders.insert(&missing).await?;
            known = lock(orders, commands).await?;
        }
        end(orders, known, commands, rule::reject, || OrderRejectedReply {}).await
    }

    fn runs_without_action(&self, command: &RejectOrder) -> bool {
        creatable(command).is_some()
    }

    fn event(
        &self,
        asked: &Asked<RejectOrder>,
        answer: &Answer<OrderRejectedReply>,
    ) -> Option<Event> {
        let RejectOrder { reason_code, reason, cancelled, order: _ } = asked.command.clone();
        let order_id = asked.saga.to_string();
        done(answer, || {
            if cancelled {
                Event::of(&OrderCancelled { order_id, reason })
            } else {
                Event::of(&OrderRejected { order_id, reason_code, reason })
            }
        })
    }
}

impl<T: Orders> Handle<ConfirmOrder, T> for OrderBook {
    /// Ends each order as CONFIRMED, with its prices.
    async fn handle(
        &self,
        orders: &mut T,
        commands: &[Asked<ConfirmOrder>],
    ) -> Result<Vec<Answer<OrderConfirmedReply>>, HandlerError> {
        let known = lock(orders, commands).await?;
        end(orders, known, commands, rule::confirm, || OrderConfirmedReply {}).await
    }

    fn event(
        &self,
        asked: &Asked<ConfirmOrder>,
        answer: &Answer<OrderConfirmedReply>,
    ) -> Option<Event> {
        let ConfirmOrder { lines, total } = asked.command.clone();
        let order_id = asked.saga.to_string();
        done(answer, || Event::of(&OrderConfirmed { order_id, lines, total }))
    }
}

/// Returns the order that a rejection creates if there is none.
fn creatable(command: &RejectOrder) -> Option<&CreateOrder> {
    command.order.as_ref().filter(|order| rule::create(order).is_ok())
}

fn new(id: SagaId, command: &CreateOrder) -> NewOrder<'_> {
    let CreateOrder { customer, lines, caller } = command;
    NewOrder { id, caller, customer, lines }
}

async fn lock<T: Orders, C>(
    orders: &mut T,
    commands: &[Asked<C>],
) -> Result<HashMap<SagaId, Known>, HandlerError> {
    let ids: Vec<_> = commands.iter().map(|asked| asked.saga).collect();
    Ok(orders.lock(&ids).await?)
}

/// Applies a rule to each of the locked orders in turn, and writes the ends.
async fn end<T: Orders, C: Sync, R>(
    orders: &mut T,
    mut known: HashMap<SagaId, Known>,
    commands: &[Asked<C>],
    rule: impl Fn(Option<&mut Known>, &C) -> Result<End, Refusal>,
    reply: impl Fn() -> R,
) -> Result<Vec<Answer<R>>, HandlerError> {
    let mut ends = Vec::with_capacity(commands.len());
    let mut answers = Vec::with_capacity(commands.len());
    for asked in commands {
        answers.push(match rule(known.get_mut(&asked.saga), &asked.command) {
            Ok(end) => {
                ends.push((asked.saga, end));
                Answer::Done(reply())
            }
            Err(refusal) => Answer::Refused(refusal),
        });
    }
    if !ends.is_empty() {
        orders.end(&ends).await?;
    }
    Ok(answers)
}

/// Returns the event of a command that was done. A refused command has none.
fn done<R>(answer: &Answer<R>, event: impl FnOnce() -> Event) -> Option<Event> {
    match answer {
        Answer::Done(_) => Some(event()),
        Answer::Refused(_) => None,
    }
}

fn exists() -> Refusal {
    Refusal::new("ORDER_EXISTS", "there is an order with this id")
}
