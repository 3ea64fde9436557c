//! Makes cargo build again when a migration is added: `sqlx::migrate!` notices only changed ones.

fn main() {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "cargo::rerun-if-changed=migrations").expect("cargo reads what we say");
}
