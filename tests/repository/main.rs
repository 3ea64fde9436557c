//! Statements about the repository that can be checked without running the system.

mod chaos;
mod documents;
mod platforms;
mod rules;
mod structure;
