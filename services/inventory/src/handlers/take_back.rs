//! Handles commands to take back sold goods.

use saga_core::{Answer, Failure, SagaId};
use saga_kit::{Asked, Event, Handle, HandlerError};
use saga_proto::inventory::v1::{StockTakenBack, StockTakenBackReply, TakeBackStock};

use super::{Inventory, skus, touched};
use crate::{
    rule::{self, NotTaken},
    table::{Sales, Shelf, TakenBack},
};

impl<T: Shelf + Sales> Handle<TakeBackStock, T> for Inventory {
    /// Makes goods available again that were sold for each command's order.
    async fn handle(
        &self,
        shelf: &mut T,
        commands: &[Asked<TakeBackStock>],
    ) -> Result<Vec<Answer<StockTakenBackReply>>, HandlerError> {
        // No order has a malformed id, so nothing was sold for it.
        let orders: Vec<Option<SagaId>> =
            commands.iter().map(|asked| asked.command.order_id.parse().ok()).collect();
        let known: Vec<SagaId> = orders.iter().flatten().copied().collect();
        let mut sales = shelf.sales(&known).await?;
        let lines = commands.iter().flat_map(|asked| &asked.command.lines);
        let mut stock = shelf.lock(&skus(lines)).await?;
        let mut taken = Vec::new();
        let mut answers = Vec::with_capacity(commands.len());
        for (asked, order) in commands.iter().zip(orders) {
            let lines = &asked.command.lines;
            let of_order = order.and_then(|order| sales.get_mut(&order));
            let of_order = of_order.map_or(&mut [][..], Vec::as_mut_slice);
            answers.push(match (rule::take_back(&mut stock, of_order, lines), order) {
                (Ok(()), Some(order)) => {
                    let saga = asked.saga;
                    let line = |line: &_| TakenBack { saga, order, line: Clone::clone(line) };
                    taken.extend(lines.iter().map(line));
                    Answer::Done(StockTakenBackReply {})
                }
                (Ok(()), None) => Answer::Refused(rule::no_reservation()),
                (Err(NotTaken::Refused(refusal)), _) => Answer::Refused(refusal),
                (Err(NotTaken::NotSoldYet), _) => {
                    let why = "the order's stock is not sold yet".to_owned();
                    return Err(Failure::Conflict(why).into());
                }
                (Err(NotTaken::Imbalance(error)), _) => {
                    return Err(Failure::Permanent(error.to_string()).into());
                }
            });
        }
        if !taken.is_empty() {
            let changed = touched(&stock, taken.iter().map(|taken| &taken.line));
            shelf.take_back(&changed, &taken).await?;
        }
        Ok(answers)
    }

    fn event(
        &self,
        asked: &Asked<TakeBackStock>,
        answer: &Answer<StockTakenBackReply>,
    ) -> Option<Event> {
        match answer {
            Answer::Done(StockTakenBackReply {}) => {
                let TakeBackStock { order_id, lines } = asked.command.clone();
                Some(Event::of(&StockTakenBack { order_id, lines }))
            }
            Answer::Refused(_) => None,
        }
    }
}
