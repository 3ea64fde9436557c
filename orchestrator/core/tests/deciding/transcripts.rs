//! What a saga decides, to be read. `UPDATE_EXPECT=1 cargo test` writes the
//! right-hand sides (in one process: not with nextest).

mod cancel_and_deadline;
mod forward_and_back;
mod operator;
mod replies;
mod stuck;
