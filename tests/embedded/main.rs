//! The embedded system as a newcomer and a small shop run it: one process, one
//! directory, no servers. It is killed, refused and starved, and audited.

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
