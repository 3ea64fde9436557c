//! Who calls, and which methods the caller may call.
//!
//! This crate has the types of identities, the table of methods and roles, and the verification of
//! tokens. It knows no gRPC and no files: its callers pass in the time, the keys and the tokens.
//! It is the only crate that depends on `jsonwebtoken`, and uses it for signatures only. The
//! header and every claim of a token are checked by code of this crate.
//!
//! Read first: [`Principal`], then [`Table`] and [`Verifier`].

mod principal;
mod table;

pub use principal::{
    ACT, APPROVE, AUDITOR, CLIENT, How, MAX_ROLES, MAX_SUBJECT_BYTES, Peer, Principal, Role, Roles,
    Tenant, VIEW, is_subject,
};
pub use table::{Line, Table, Who};
