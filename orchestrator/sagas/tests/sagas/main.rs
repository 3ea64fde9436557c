//! Tests the sagas with real messages: which commands each saga sends and to whom, which data it
//! stores, and that a command has the same bytes whenever it is built.

mod earlier_stages;
mod golden;
mod returns;
mod run;
mod transcript;
