//! Handles the service's commands, one batch at a time: load, decide, save.

mod take_back;

use std::collections::{BTreeSet, HashMap};

use saga_core::{Answer, Failure, SagaId};
use saga_kit::{Asked, Event, Handle, HandlerError};
use saga_proto::{
    inventory::v1::{
        CommitStock, ReleaseStock, ReserveStock, StockCommitted, StockCommittedReply,
        StockReleased, StockReleasedReply, StockReserved, StockReservedReply,
    },
    types::v1::Line,
};

use crate::{
    rule::{self, Imbalance, Product, Promise, Stock},
    table::{Closing, Reservation, Shelf},
};

/// Handles the inventory's commands over any [`Shelf`].
#[derive(Clone, Copy, Debug)]
pub struct Inventory;

impl<T: Shelf> Handle<ReserveStock, T> for Inventory {
    /// Reserves stock for all lines of a command, or for none. Stock that one command reserves is
    /// not available to later commands of the same batch.
    #[tracing::instrument(name = "reserve", skip_all, fields(commands = commands.len()))]
    async fn handle(
        &self,
        shelf: &mut T,
        commands: &[Asked<ReserveStock>],
    ) -> Result<Vec<Answer<StockReservedReply>>, HandlerError> {
        let lines = commands.iter().flat_map(|asked| &asked.command.lines);
        let mut stock = shelf.lock(&skus(lines)).await?;
        let mut reservations = Vec::new();
        let answers = commands
            .iter()
            .map(|asked| match rule::reserve(&mut stock, &asked.command) {
                Ok(promise) => {
                    reservations.extend(held(asked.saga, &promise));
                    let Promise { lines, total } = promise;
                    Answer::Done(StockReservedReply { lines, total: Some(total) })
                }
                Err(refusal) => Answer::Refused(refusal),
            })
            .collect();
        if !reservations.is_empty() {
            let changed = touched(&stock, reservations.iter().map(|r| &r.line));
            shelf.reserve(&changed, &reservations).await?;
        }
        Ok(answers)
    }

    fn event(
        &self,
        asked: &Asked<ReserveStock>,
        answer: &Answer<StockReservedReply>,
    ) -> Option<Event> {
        match answer {
            Answer::Done(StockReservedReply { lines, total }) => Some(Event::of(&StockReserved {
                order_id: asked.saga.to_string(),
                lines: lines.clone(),
                total: total.clone(),
            })),
            Answer::Refused(_) => None,
        }
    }
}

impl<T: Shelf> Handle<ReleaseStock, T> for Inventory {
    /// Releases the stock that is reserved for each saga. It is no error if there is none.
    async fn handle(
        &self,
        shelf: &mut T,
        commands: &[Asked<ReleaseStock>],
    ) -> Result<Vec<Answer<StockReleasedReply>>, HandlerError> {
        let closed = close(shelf, commands, Closing::Released, rule::release).await?;
        let done = |lines| Answer::Done(StockReleasedReply { lines });
        Ok(closed.into_iter().map(done).collect())
    }

    fn event(
        &self,
        asked: &Asked<ReleaseStock>,
        answer: &Answer<StockReleasedReply>,
    ) -> Option<Event> {
        match answer {
            // No stock was released, so there is no event.
            Answer::Done(StockReleasedReply { lines }) if lines.is_empty() => None,
            Answer::Done(StockReleasedReply { lines }) => Some(Event::of(&StockReleased {
                order_id: asked.saga.to_string(),
                lines: lines.clone(),
            })),
            Answer::Refused(_) => None,
        }
    }
}

impl<T: Shelf> Handle<CommitStock, T> for Inventory {
    /// Marks the stock that is reserved for each saga as sold.
    async fn handle(
        &self,
        shelf: &mut T,
        commands: &[Asked<CommitStock>],
    ) -> Result<Vec<Answer<StockCommittedReply>>, HandlerError> {
        let closed = close(shelf, commands, Closing::Committed, rule::commit).await?;
        Ok(closed
            .into_iter()
            .map(|lines| {
                if lines.is_empty() {
                    Answer::Refused(rule::no_reservation())
                } else {
                    Answer::Done(StockCommittedReply { lines })
                }
            })
            .collect())
    }

    fn event(
        &self,
        asked: &Asked<CommitStock>,
        answer: &Answer<StockCommittedReply>,
    ) -> Option<Event> {
        match answer {
            Answer::Done(StockCommittedReply { lines }) => Some(Event::of(&StockCommitted {
                order_id: asked.saga.to_string(),
                lines: lines.clone(),
            })),
            Answer::Refused(_) => None,
        }
    }
}

/// Closes the sagas' reservations, and returns the lines of each command's saga.
async fn close<T: Shelf, C: Sync>(
    shelf: &mut T,
    commands: &[Asked<C>],
    how: Closing,
    rule: impl Fn(&mut Stock, &[Line]) -> Result<(), Imbalance>,
) -> Result<Vec<Vec<Line>>, HandlerError> {
    let sagas: Vec<SagaId> = commands.iter().map(|asked| asked.saga).collect();
    let closed = shelf.close(&sagas, how).await?;
    let mut by_saga: HashMap<SagaId, Vec<Line>> = HashMap::new();
    if !closed.is_empty() {
        let mut stock = shelf.lock(&skus(closed.iter().map(|(_, line)| line))).await?;
        for (saga, line) in &closed {
            by_saga.entry(*saga).or_default().push(line.clone());
        }
        for lines in by_saga.values() {
            rule(&mut stock, lines).map_err(|error| Failure::Permanent(error.to_string()))?;
        }
        let changed = touched(&stock, closed.iter().map(|(_, line)| line));
        shelf.settle(&changed, &closed, how).await?;
    }
    Ok(sagas.iter().map(|saga| by_saga.remove(saga).unwrap_or_default()).collect())
}

/// Lists the lines' SKUs, each once and in order. Leaves out malformed ones, which cannot exist.
fn skus<'a>(lines: impl Iterator<Item = &'a Line>) -> Vec<String> {
    let skus: BTreeSet<&String> =
        lines.map(|line| &line.sku).filter(|sku| rule::is_sku(sku)).collect();
    skus.into_iter().cloned().collect()
}

/// Returns the products that the lines have changed. Only these need to be written.
fn touched<'a>(stock: &'a Stock, lines: impl Iterator<Item = &'a Line>) -> Vec<&'a Product> {
    let skus: BTreeSet<&String> = lines.map(|line| &line.sku).collect();
    skus.into_iter().filter_map(|sku| stock.get(sku)).collect()
}

fn held(saga: SagaId, promise: &Promise) -> impl Iterator<Item = Reservation> + '_ {
    promise.lines.iter().filter_map(move |line| {
        Some(Reservation {
            saga,
            line: Line { sku: line.sku.clone(), quantity: line.quantity },
            unit_price: line.unit_price.clone()?,
        })
    })
}
