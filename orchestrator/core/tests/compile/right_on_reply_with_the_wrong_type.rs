use saga_core::{Definition, Steps, step};

use crate::shop::{Order, Told, ask};

pub(crate) fn steps() -> Definition<Order> {
    Steps::new().pivot(step("p", ask).on_reply(|_, _: Told| ())).build()
}
