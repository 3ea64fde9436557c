//! Checks of the repository that do not run the system.

mod chaos;
mod documents;
mod migrations;
mod platforms;
mod rules;
mod structure;
