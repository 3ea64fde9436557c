//! The operators' contract in Rust: the gRPC services `Sagas` and `Quarantine`, and the event that
//! orchestrators publish.
//!
//! The code is generated from `saga/operations/v1/operations.proto`, which is the source of truth.
//! It does not depend on particular sagas: every orchestrator built with the framework serves it.

use saga_core::{DomainEvent, TypeName};

#[expect(missing_docs, reason = "generated; the .proto file is the documentation")]
#[expect(clippy::allow_attributes, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/saga.operations.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/saga.operations.v1.serde.rs"));
}

/// The descriptors of the contract, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

impl TypeName for v1::SagaStuck {
    const TYPE: &'static str = "saga.operations.v1.SagaStuck";
}

impl DomainEvent for v1::SagaStuck {
    const KEY: &'static str = "saga.stuck";
}
