//! The handlers of the four commands. Each reads rows, lets a rule decide, calls the provider, and
//! writes rows.

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

/// The handlers of the payment service's commands.
pub struct Cashier {
    provider: Arc<Provider>,
}

impl Cashier {
    /// Creates handlers that call this provider.
    #[must_use]
    pub fn new(provider: Arc<Provider>) -> Self {
        Self { provider }
    }
}

impl From<AskError> for CallError {
    fn from(error: AskError) -> Self {
        match error {
            // Each of these errors ends a sequence of calls of which only the last one can have had
            // an effect.
            AskError::BreakerOpen(_) | AskError::Unreachable(_) => Self::NotSent(error.to_string()),
            AskError::NoAnswer(_) | AskError::Unwell(_) | AskError::Unclear(_) => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

/// Reads and locks the payments of orders. Every transaction locks them in the same order.
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
