//! What the programs for the suites share: the contracts, and both transports.

pub mod metadata;
mod transport;

use std::io::{self, Read, Write};

use prost::Message;
use tonic::codec::CompressionEncoding;

pub use transport::{Client, connect, serve};

/// ConnectRPC's contracts.
#[allow(clippy::all, missing_docs)]
pub mod conformance {
    tonic::include_proto!("connectrpc.conformance.v1");
}

/// gRPC's interop contracts.
#[allow(clippy::all, missing_docs)]
pub mod testing {
    tonic::include_proto!("grpc.testing");
}

/// The descriptors of both.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Every compression that tonic knows.
pub const COMPRESSIONS: [CompressionEncoding; 3] = [
    CompressionEncoding::Gzip,
    CompressionEncoding::Zstd,
    CompressionEncoding::Deflate,
];

/// Which program this is to be: the first argument, `mizan` or `tonic`.
pub fn transport_wanted() -> String {
    std::env::args()
        .nth(1)
        .unwrap_or_else(|| "mizan".to_owned())
}

/// Reads one message of the suite's: a length of four bytes, then the message. `None` at the end.
pub fn read<M: Message + Default>(from: &mut impl Read) -> Option<M> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    from.read_exact(&mut bytes).ok()?;
    M::decode(&*bytes).ok()
}

/// Writes one.
pub fn write(message: &impl Message) -> io::Result<()> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&bytes)?;
    out.flush()
}
