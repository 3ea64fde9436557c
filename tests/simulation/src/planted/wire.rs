//! Bugs in the connection to the provider.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;
use saga_payment::{Call, Lost, Wire};

use super::Planted;
use crate::sim::lock;

/// A connection to the provider with a planted bug.
pub(crate) struct PlantedWire<W> {
    inner: W,
    planted: Option<Planted>,
    calls: AtomicU64,
    /// The captures' keys that were to be used up.
    left: Mutex<BTreeSet<String>>,
}

/// The provider's answer to a request for a payment that does not exist.
const NOT_FOUND: &[u8] = br#"{"error":{"code":"no_such_payment","message":"there is none"}}"#;
/// Its answer to a look-up of a key that nobody has used.
const UNUSED: &[u8] = br#"{"found":false}"#;
/// Its answer to a look-up of a key that was used up.
const USED_UP: &[u8] = br#"{"found":true,"status":404,"body":{"error":{"code":"no_such_payment","message":"there is none"}}}"#;
/// The end of a capture's key.
const CAPTURE: &str = "/capture-payment/action";

/// Returns the capture's key, if the call uses it up.
fn retracts_capture(call: &Call) -> Option<&str> {
    let (key, _) = call.post.as_ref()?;
    (key.ends_with(CAPTURE) && call.path_and_query.ends_with("/cancel")).then_some(key.as_str())
}

/// Returns the capture's key, if the call looks it up.
fn looks_up_capture(call: &Call) -> Option<&str> {
    let key = call.path_and_query.strip_prefix("/v1/operations?idempotency_key=")?;
    key.ends_with(CAPTURE).then_some(key)
}

impl<W> PlantedWire<W> {
    pub(crate) fn new(inner: W, planted: Option<Planted>) -> Self {
        Self { inner, planted, calls: AtomicU64::new(0), left: Mutex::default() }
    }
}

impl<W: Wire> Wire for PlantedWire<W> {
    fn send<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(u16, Vec<u8>), Lost>> {
        Box::pin(async move {
            let mut call = call.clone();
            if self.planted == Some(Planted::FreshKeys)
                && let Some((key, _)) = &mut call.post
            {
                key.push_str(&format!("-{}", self.calls.fetch_add(1, Ordering::Relaxed)));
            }
            if self.planted == Some(Planted::CaptureIsNotLookedUp)
                && let Some(key) = retracts_capture(&call)
            {
                // The key is left to the capture that has happened.
                lock(&self.left).insert(key.to_owned());
                return Ok((404, NOT_FOUND.to_vec()));
            }
            if self.planted == Some(Planted::CaptureIsNotLookedUp)
                && let Some(key) = looks_up_capture(&call)
            {
                let left = lock(&self.left).contains(key);
                return Ok((200, if left { USED_UP.to_vec() } else { UNUSED.to_vec() }));
            }
            let copy = self.planted == Some(Planted::CopiesCallSideBySide) && call.post.is_some();
            let captures = call.path_and_query.ends_with("/capture");
            let (sent, _) = tokio::join!(biased; self.inner.send(&call), async {
                if copy {
                    let _ = self.inner.send(&call).await;
                }
            });
            match sent {
                Err(Lost::NotSent(why)) if self.planted == Some(Planted::NotSentIsSilence) => {
                    Err(Lost::NoAnswer(why))
                }
                Err(Lost::NoAnswer(_))
                    if self.planted == Some(Planted::SilenceIsANo) && captures =>
                {
                    let no = r#"{"error":{"code":"capture_declined","message":"silence"}}"#;
                    Ok((409, no.as_bytes().to_vec()))
                }
                Err(Lost::NoAnswer(why)) if self.planted == Some(Planted::SilenceIsNotSent) => {
                    Err(Lost::NotSent(why))
                }
                answered => answered,
            }
        })
    }
}
