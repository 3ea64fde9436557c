//! Messages that cannot be handled: storing them, and the operators' acts on them.

pub(crate) mod desk;
pub(crate) mod keep;
pub(crate) mod row;
