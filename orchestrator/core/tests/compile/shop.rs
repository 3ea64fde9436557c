//! The saga that the other files of this folder define in a right or wrong order.

use saga_core::{Command, Definition, Saga, Steps, TypeName, step};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ask {}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Told {}

impl TypeName for Ask {
    const TYPE: &'static str = "Ask";
}

impl TypeName for Told {
    const TYPE: &'static str = "Told";
}

impl Command for Ask {
    const PARTICIPANT: &'static str = "participant";
    type Reply = Told;
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {}

impl Saga for Order {
    const NAME: &'static str = "order";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new().pivot(step("decide", ask)).build()
    }
}

pub(crate) fn ask(_: &Order) -> Ask {
    Ask {}
}
