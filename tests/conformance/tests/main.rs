//! The properties that every adapter of a port must have, a file a topic, run over each of
//! the port's adapters; and, in each port's `planted.rs`, the properties over SQL with
//! a bug in it, which they must see. An adapter that is not listed here is not one yet.

/// Makes the tests of these properties: a module for each property, and in it a test for each
/// adapter. A property is an async function of what `Fixture::adapter().await` returns.
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
mod saga_store;
mod shelf;
mod transport;
