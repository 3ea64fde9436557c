//! The embedded system as newcomers and small shops run it: one process, one directory, no servers.
//! It is killed, it gets bad directories and a full disk, and it is audited.

mod demo;
mod directory;
mod disk;
mod kill;
#[path = "../e2e/load.rs"]
mod load;
mod operating;
mod returning;
#[path = "../e2e/returns.rs"]
mod returns;
mod system;
