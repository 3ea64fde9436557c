use saga_core::{Definition, Steps, step};

use crate::shop::{Order, ask};

pub(crate) fn steps() -> Definition<Order> {
    Steps::new().pivot(step("p", ask)).retriable(step("r", ask)).build()
}
