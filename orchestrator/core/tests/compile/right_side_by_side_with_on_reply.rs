use saga_core::{Definition, Steps, step, together};

use crate::shop::{Order, ask};

pub(crate) fn steps() -> Definition<Order> {
    Steps::new()
        .pivot(step("p", ask).on_reply(|_, _| ()))
        .retriable(together((step("a", ask), step("b", ask))))
        .build()
}
