//! What the repository says of itself, checked without running the system.

mod chaos;
mod documents;
mod platforms;
mod rules;
mod structure;
