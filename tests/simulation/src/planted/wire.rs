//! Bugs in the connection to the provider.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use saga_payment::{Call, Lost, Wire};

use super::Planted;

/// A connection to the provider with a planted bug.
pub(crate) struct PlantedWire<W> {
    inner: W,
    planted: Option<Planted>,
    calls: AtomicU64,
}

impl<W> PlantedWire<W> {
    pub(crate) fn new(inner: W, planted: Option<Planted>) -> Self {
        Self { inner, planted, calls: AtomicU64::new(0) }
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
            let captures = call.path_and_query.ends_with("/capture");
            match self.inner.send(&call).await {
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
