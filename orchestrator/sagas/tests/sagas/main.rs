//! The sagas with real messages: the commands that each sends and their receivers, the data that it
//! stores, and a check that a command has the same bytes whenever it is built.

mod earlier_stages;
mod golden;
mod returns;
mod run;
mod transcript;
