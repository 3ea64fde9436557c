#[path = "shop.rs"]
mod shop;

use saga_core::{Definition, Steps, step};
use shop::{Ask, Order, ask};

fn steps() -> Definition<Order> {
    Steps::new().pivot(step("p", ask).on_reply(|_, _: Ask| ())).build()
}

fn main() {
    steps();
}
