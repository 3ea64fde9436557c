//! The handlers of the four commands. Each reads rows, lets a rule decide, asks the provider,
//! and writes rows.

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
    /// A cashier that asks this provider.
    #[must_use]
    pub fn new(provider: Arc<Provider>) -> Self {
        Self { provider }
    }
}

impl From<AskError> for CallError {
    fn from(error: AskError) -> Self {
        match error {
            // With each of these a sequence of calls ends, and only its last call can have an
            // effect.
            AskError::BreakerOpen(_) | AskError::Unreachable(_) => Self::NotSent(error.to_string()),
            AskError::NoAnswer(_) | AskError::Unwell(_) | AskError::Unclear(_) => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

/// Locks the payments of orders, in the order that every transaction uses.
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
