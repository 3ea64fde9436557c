//! Messages that cannot be handled: keeping them, reading them, and operators' acts.

pub(crate) mod desk;
pub(crate) mod keep;
pub(crate) mod row;
