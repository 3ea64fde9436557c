//! Every limit of the front door, with its reason.

use std::time::Duration;

use saga_identity::{ACT, APPROVE, AUDITOR, CLIENT, VIEW};

use crate::may::{STOCK, STOCK_PRICE};

/// Settings that an embedder may choose. The defaults fit one small machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's own limits.
    pub desk: saga_desk::Settings,
    /// Time limit for an order's forward work before the pivot (semantics 18).
    pub order_deadline: Duration,
    /// Time limit for a forwarded read or restock. After that the service counts as unavailable.
    pub forward_timeout: Duration,
    /// Greatest age of a cached page of products when a call for it begins. With zero, each call
    /// reads anew. No order is decided on such a page: stock is reserved under the rows' locks.
    pub catalogue_cache: Duration,
}

/// This is too short for people to notice when they check stock, and allows at most one read a
/// second for each page.
pub const DEFAULT_CATALOGUE_CACHE: Duration = Duration::from_secs(1);

impl Default for Settings {
    fn default() -> Self {
        let mut desk = saga_desk::Settings::default();
        let here = [CLIENT, VIEW, ACT, APPROVE, AUDITOR, STOCK, STOCK_PRICE];
        desk.anonymous.here = here.into_iter().collect();
        Self {
            desk,
            order_deadline: Duration::from_secs(60),
            forward_timeout: Duration::from_secs(5),
            catalogue_cache: DEFAULT_CATALOGUE_CACHE,
        }
    }
}

/// Interval at which the payment service is asked whether a payment can be tried.
pub(crate) const AVAILABILITY_INTERVAL: Duration = Duration::from_secs(1);

/// Time limit for the payment service's answer.
pub(crate) const AVAILABILITY_TIMEOUT: Duration = Duration::from_secs(1);

/// Largest answer that is accepted from a service: a page of 500 orders of 100 lines each, with
/// room to spare.
pub(crate) const MAX_FORWARDED_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of cached pages: enough for the first pages of a catalogue, for every page size
/// that clients are likely to use.
pub(crate) const MAX_CACHED_PAGES: usize = 256;

/// Maximum size of all cached pages, as encoded messages: some 40,000 products of 200 bytes.
pub(crate) const MAX_CACHED_CATALOGUE_BYTES: usize = 8 * 1024 * 1024;
