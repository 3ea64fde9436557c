//! The decisions of sagas, as texts to read. `UPDATE_EXPECT=1 cargo test` writes them anew
//! (in one process: not with nextest).

mod cancel_and_deadline;
mod forward_and_back;
mod operator;
mod replies;
mod stuck;
