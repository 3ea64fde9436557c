#[path = "shop.rs"]
mod shop;

use saga_core::{Definition, Steps, step};
use shop::{Order, ask};

fn steps() -> Definition<Order> {
    Steps::new().retriable(step("r", ask)).pivot(step("p", ask)).build()
}

fn main() {
    steps();
}
