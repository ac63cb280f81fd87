//! Compiles the suites' contracts from where their packages lie: `CONFORMANCE_PROTO` is a folder, and
//! `GRPC_TESTING` a file with the descriptors of `grpc.testing`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;

const CONFORMANCE: &[&str] = &[
    "connectrpc/conformance/v1/service.proto",
    "connectrpc/conformance/v1/client_compat.proto",
    "connectrpc/conformance/v1/server_compat.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=CONFORMANCE_PROTO");
    println!("cargo:rerun-if-env-changed=GRPC_TESTING");
    let folder = env::var("CONFORMANCE_PROTO")?;
    let testing = env::var("GRPC_TESTING")?;
    println!("cargo:rerun-if-changed={testing}");
    let mut descriptors = protox::compile(CONFORMANCE, [folder])?;
    let testing = FileDescriptorSet::decode(&*fs::read(testing)?)?;
    descriptors.file.extend(testing.file);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // The suite wants messages back by their names.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
