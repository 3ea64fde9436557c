use saga_core::{Definition, Steps, step};

use crate::shop::{Ask, Order, ask};

pub(crate) fn steps() -> Definition<Order> {
    Steps::new()
        .compensatable(step("a", ask).compensate(|_, _| Ask {}))
        .pivot(step("p", ask))
        .build()
}
