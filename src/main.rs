//! `saga`: one binary. It runs one role or all of them, or it calls them.

use std::process::ExitCode;

fn main() -> ExitCode {
    saga::main()
}
