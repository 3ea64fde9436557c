//! The four commands' handlers: read rows, let the rule decide, ask, write rows.

mod authorise;
mod capture;
mod refund;
mod void;

use std::{collections::HashMap, sync::Arc};

use saga_core::{Failure, SagaId};
use saga_kit::CallError;

use crate::{
    provider::{AskError, Provider},
    rule::Payment,
    table::Payments,
};

/// Handles the payment service's commands.
pub struct Cashier {
    provider: Arc<Provider>,
}

impl Cashier {
    /// Asks this provider.
    #[must_use]
    pub fn new(provider: Arc<Provider>) -> Self {
        Self { provider }
    }
}

impl From<AskError> for CallError {
    fn from(error: AskError) -> Self {
        match error {
            // Each of these ends a sequence of calls, of which only the last can have an effect.
            AskError::BreakerOpen(_) | AskError::Unreachable(_) => Self::NotSent(error.to_string()),
            AskError::NoAnswer(_) | AskError::Unwell(_) | AskError::Unclear(_) => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

/// The payments of orders, locked in the one order that everybody uses.
async fn lock<Tx: Payments>(
    tx: &mut Tx,
    orders: impl Iterator<Item = SagaId>,
) -> Result<HashMap<SagaId, Payment>, Failure> {
    let mut orders: Vec<SagaId> = orders.collect();
    orders.sort_unstable();
    orders.dedup();
    let payments = tx.lock(&orders).await?;
    Ok(payments.into_iter().map(|payment| (payment.order, payment)).collect())
}
