//! Rebuilds the crate when a migration is added: by itself, `sqlx::migrate!` notices only changed
//! ones.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
