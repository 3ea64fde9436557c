//! Tests of the core's decisions: transcripts to read, and properties that hold for every saga and
//! every sequence of inputs.

mod invariants;
mod liveness;
mod operating;
mod properties;
mod run;
mod script;
mod shapes;
mod shop;
mod transcripts;
mod versions;
mod world;
