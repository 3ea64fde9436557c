//! Place order with real messages: what it says to whom, what it stores, and
//! that a command has the same bytes whenever it is built.

mod earlier_stages;
mod golden;
mod run;
mod transcript;
