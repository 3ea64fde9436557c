#[path = "shop.rs"]
mod shop;

use saga_core::{Definition, Steps, step};
use shop::{Order, ask};

fn steps() -> Definition<Order> {
    Steps::new().compensatable(step("a", ask)).pivot(step("p", ask)).build()
}

fn main() {
    steps();
}
