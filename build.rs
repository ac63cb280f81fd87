//! Compiles the contracts in `proto/` with protox: no `protoc` is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: &[&str] = &[
    "mizan/registry/v1/registry.proto",
    "mizan/zakat/v1/zakat.proto",
    "mizan/invoice/v1/invoice.proto",
    "mizan/accounting/v1/accounting.proto",
    "mizan/payment/v1/payment.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("mizan.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Maps in key order: the encoding of a request is canonical, so it can be compared.
        .btree_map(".")
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
