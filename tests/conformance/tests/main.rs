//! The properties that every adapter of a port must have. Each file tests one topic on each of the
//! port's adapters. Each port's `planted.rs` tests properties on SQL with a bug in it, and they
//! must fail. An adapter is complete only when it is listed here.

/// Generates the tests: a module for each property, and in it a test for each adapter. A property
/// is an async function that takes the result of `Fixture::adapter().await`.
macro_rules! holds_on {
    ($fixture:ident::$adapters:tt: $($property:ident),+ $(,)?) => {
        $(holds_on!(@one $fixture $adapters $property);)+
    };
    (@one $fixture:ident { $($adapter:ident),+ } $property:ident) => {
        mod $property {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $adapter() {
                    super::$property(super::$fixture::$adapter().await).await;
                }
            )+
        }
    };
}

mod databases;
mod inbox;
mod orders;
mod payments;
mod planted;
mod released;
mod saga_store;
mod shelf;
mod transport;
