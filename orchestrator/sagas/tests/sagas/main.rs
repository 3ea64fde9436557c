//! The sagas with real messages: what each says to whom, what it stores, and that a
//! command has the same bytes whenever it is built.

mod earlier_stages;
mod golden;
mod returns;
mod run;
mod transcript;
