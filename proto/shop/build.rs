//! Compiles the contract with a protoc in pure Rust, so that building needs none.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 5] = [
    "saga/types/v1/types.proto",
    "saga/order/v1/order.proto",
    "saga/inventory/v1/inventory.proto",
    "saga/payment/v1/payment.proto",
    "saga/shop/v1/shop.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["."])?;
    let bytes = descriptors.encode_to_vec();
    fs::write(out.join("descriptors.bin"), &bytes)?;
    tonic_prost_build::configure()
        .skip_debug([".saga.payment.v1.AuthorisePayment", ".saga.shop.v1.PlaceOrderRequest"])
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&bytes)?
        .ignore_unknown_fields()
        .build(&[".saga"])?;
    Ok(())
}
