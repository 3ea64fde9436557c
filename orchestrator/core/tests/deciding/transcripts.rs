//! Transcripts of decisions. `UPDATE_EXPECT=1 cargo test` updates them (in one process, so not with
//! nextest).

mod cancel_and_deadline;
mod forward_and_back;
mod operator;
mod replies;
mod stuck;
