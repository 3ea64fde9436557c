//! Messages that cannot be handled: how they are kept, how they are read, and what operators
//! do to them.

pub(crate) mod desk;
pub(crate) mod keep;
pub(crate) mod row;
