//! Builds again when a migration is added: `sqlx::migrate!` sees only changed ones.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
