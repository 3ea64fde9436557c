//! `saga`: one binary, which runs one role or all of them, or is a client of a running system.

use std::process::ExitCode;

fn main() -> ExitCode {
    saga::main()
}
