//! The engine's loops, over a store and a broker that fail in one way each.

mod claiming;
mod hints;
mod requests;
mod stopping;
mod world;
