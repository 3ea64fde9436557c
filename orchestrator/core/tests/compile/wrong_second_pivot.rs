#[path = "shop.rs"]
mod shop;

use saga_core::{Definition, Steps, step};
use shop::{Order, ask};

fn steps() -> Definition<Order> {
    Steps::new().pivot(step("p", ask)).pivot(step("q", ask)).build()
}

fn main() {
    steps();
}
