#[path = "shop.rs"]
mod shop;

use saga_core::{Definition, Steps, step, together};
use shop::{Order, ask};

fn steps() -> Definition<Order> {
    Steps::new()
        .pivot(step("p", ask))
        .retriable(together((step("a", ask).on_reply(|_, _| ()), step("b", ask))))
        .build()
}

fn main() {
    steps();
}
