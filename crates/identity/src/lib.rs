//! Who calls, and which methods the caller may call.
//!
//! This crate has the types of identities, and the table of methods and roles. It is pure: it knows
//! no gRPC, no files and no clock.
//!
//! Read first: [`Principal`], then [`Table`].

mod principal;
mod table;

pub use principal::{
    ACT, APPROVE, AUDITOR, CLIENT, How, MAX_ROLES, MAX_SUBJECT_BYTES, Peer, Principal, Role, Roles,
    Tenant, VIEW, is_subject,
};
pub use table::{Line, Table, Who};
