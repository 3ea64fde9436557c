//! Compiles the contract with a protoc in pure Rust, so that building needs none.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILE: &str = "saga/operations/v1/operations.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FILE}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile([FILE], ["."])?;
    let bytes = descriptors.encode_to_vec();
    fs::write(out.join("descriptors.bin"), &bytes)?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&bytes)?
        .ignore_unknown_fields()
        .build(&[".saga"])?;
    Ok(())
}
