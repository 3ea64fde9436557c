//! Caches the product pages that were read last, for at most [`Settings::catalogue_cache`].
//!
//! Promise: a caller gets a page as it was at some instant, and that instant is no longer ago than
//! this limit when the call begins. A caller who restocks through this server sees the restock in
//! every later page.
//!
//! Reads and restocks get numbers from one counter in the table. Both get a number when they begin,
//! and a restock gets another one when it is answered. So a read that began before a restock was
//! answered can be recognised, and does not overwrite the restock.
//!
//! [`Settings::catalogue_cache`]: crate::Settings::catalogue_cache

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::counter;
use prost::Message as _;
use saga_proto::inventory::v1::Product;
use tokio::{sync::watch, time::Instant};
use tonic::Status;

use crate::settings::{MAX_CACHED_CATALOGUE_BYTES, MAX_CACHED_PAGES};
use saga_desk::{RETRY_AFTER, status};

/// A page's products, sorted by SKU, or the reason why they could not be read.
pub(crate) type Answer = Result<Arc<Vec<Product>>, Status>;

/// Identifies a page in the cache.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Page {
    /// The page starts with the first SKU after this one.
    pub(crate) after: String,
    /// Maximum number of products on the page.
    pub(crate) limit: i32,
}

/// The pages that are cached or being read. All calls share them.
#[derive(Clone)]
pub(crate) struct ProductPages {
    table: Arc<Mutex<Table>>,
    time_to_live: Duration,
}

/// A restock in progress.
pub(crate) struct Restocking {
    began: u64,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Page, Entry>,
    /// The last number that the counter gave out.
    number: u64,
    /// The number that the last restock got when it was answered.
    restocked: u64,
}

struct Entry {
    /// The number of the read that fills this entry.
    read: u64,
    since: Instant,
    state: State,
}

enum State {
    Reading(watch::Receiver<Option<Answer>>),
    Kept { products: Arc<Vec<Product>>, bytes: usize },
}

/// The ways to get a page.
enum Way {
    Kept(Arc<Vec<Product>>),
    Reading(watch::Receiver<Option<Answer>>),
    Read { read: u64, answered: watch::Sender<Option<Answer>> },
}

impl ProductPages {
    /// Creates a cache of pages. A `time_to_live` of zero turns it off.
    pub(crate) fn new(time_to_live: Duration) -> Self {
        Self { table: Arc::default(), time_to_live }
    }

    /// Returns the cached page, or reads it with `read`. If several callers ask for the same page
    /// at once, it is read once for all of them, and the read goes on even if they disconnect. If
    /// it fails, all of them get the failure, and nothing is cached.
    pub(crate) async fn get<F>(&self, page: Page, read: F) -> Answer
    where
        F: Future<Output = Result<Vec<Product>, Status>> + Send + 'static,
    {
        if self.time_to_live.is_zero() {
            return read.await.map(Arc::new);
        }
        let way = self.way(&page);
        let outcome = match &way {
            Way::Kept(_) => "hit",
            Way::Reading(_) => "coalesced",
            Way::Read { .. } => "miss",
        };
        counter!("saga_catalogue_reads_total", "outcome" => outcome).increment(1);
        let mut answer = match way {
            Way::Kept(products) => return Ok(products),
            Way::Reading(answer) => answer,
            Way::Read { read: number, answered } => {
                let (answer, pages) = (answered.subscribe(), self.clone());
                tokio::spawn(async move {
                    let answer = read.await.map(Arc::new);
                    pages.lock().answered(&page, number, &answer, pages.time_to_live);
                    // All callers may have disconnected by now.
                    answered.send_replace(Some(answer));
                });
                answer
            }
        };
        let answer = answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| {
            let why = "the catalogue was not read to its end: call again";
            Err(status::unavailable(why, "SERVICE_AWAY", RETRY_AFTER))
        })
    }

    fn way(&self, page: &Page) -> Way {
        let mut table = self.lock();
        if let Some(entry) = table.entries.get(page)
            && entry.since.elapsed() < self.time_to_live
        {
            match &entry.state {
                State::Kept { products, .. } => return Way::Kept(Arc::clone(products)),
                // The channel is closed if the read panicked; then there will be no answer.
                State::Reading(answer) if answer.has_changed().is_ok() => {
                    return Way::Reading(answer.clone());
                }
                State::Reading(_) => {}
            }
        }
        let (answered, answer) = watch::channel(None);
        let read = table.next();
        let state = State::Reading(answer);
        table.entries.insert(page.clone(), Entry { read, since: Instant::now(), state });
        Way::Read { read, answered }
    }

    /// Begins a restock. Call this before the restock is sent.
    pub(crate) fn restocking(&self) -> Restocking {
        Restocking { began: self.lock().next() }
    }

    /// Writes a restock's answer into the cached pages that hold the product, and drops pages that
    /// should hold it but may not. A read in progress still answers the callers that already wait
    /// for it, but its page is not cached.
    pub(crate) fn restocked(&self, restocking: &Restocking, product: &Product) {
        let mut table = self.lock();
        // If two restocks overlapped, it is unknown which answer is the later one.
        let alone = table.restocked < restocking.began;
        table.restocked = table.next();
        table.entries.retain(|page, entry| {
            // A read that began after the restock may have seen a later state than the answer has.
            let is_newer = alone && entry.read < restocking.began;
            !page.covers(product, entry) || (is_newer && entry.write(product))
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No panic under this lock leaves the table inconsistent, so a poisoned lock is usable.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    /// Returns true if the product belongs on this page, or may belong there. SKUs are ordered by
    /// their bytes.
    fn covers(&self, product: &Product, entry: &Entry) -> bool {
        let before_its_end = match &entry.state {
            State::Reading(_) => true,
            State::Kept { products, .. } => {
                let full = i32::try_from(products.len()).is_ok_and(|count| count >= self.limit);
                !full || products.last().is_some_and(|last| product.sku <= last.sku)
            }
        };
        self.after < product.sku && before_its_end
    }
}

impl Entry {
    /// If the page holds the product, writes the product's new state and returns true.
    fn write(&mut self, product: &Product) -> bool {
        let State::Kept { products, bytes } = &mut self.state else { return false };
        let Ok(at) = products.binary_search_by(|p| p.sku.cmp(&product.sku)) else { return false };
        Arc::make_mut(products)[at] = product.clone();
        *bytes = encoded(products);
        true
    }

    fn bytes(&self) -> usize {
        match self.state {
            State::Reading(_) => 0,
            State::Kept { bytes, .. } => bytes,
        }
    }
}

impl Table {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Caches the result of a read, unless the read failed or took too long, or a restock was
    /// answered meanwhile. Then drops pages that are too old or too many.
    fn answered(&mut self, page: &Page, read: u64, answer: &Answer, time_to_live: Duration) {
        if let Some(entry) = self.entries.get_mut(page).filter(|entry| entry.read == read) {
            if let Ok(products) = answer {
                let bytes = encoded(products);
                entry.state = State::Kept { products: Arc::clone(products), bytes };
            } else {
                self.entries.remove(page);
            }
        }
        self.entries.retain(|_, entry| entry.since.elapsed() < time_to_live);
        while self.entries.len() > MAX_CACHED_PAGES || self.bytes() > MAX_CACHED_CATALOGUE_BYTES {
            let kept = self.entries.iter().filter(|(_, e)| matches!(e.state, State::Kept { .. }));
            let oldest = kept.min_by_key(|(_, entry)| entry.read).map(|(page, _)| page.clone());
            let Some(oldest) = oldest else { break };
            self.entries.remove(&oldest);
        }
    }

    fn bytes(&self) -> usize {
        self.entries.values().map(Entry::bytes).sum()
    }
}

fn encoded(products: &[Product]) -> usize {
    products.iter().map(Product::encoded_len).sum()
}

#[cfg(test)]
mod tests;
