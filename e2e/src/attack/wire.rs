//! HTTP/2 and HTTP/1.1 written by hand, as no library would send it.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;

/// How long an answer may take before a step of an attack gives up on it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame as it stands on the wire.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What a connection begins with; `window` is what a stream may send before it is read.
pub(super) fn preface(window: Option<u32>) -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let mut settings = Vec::new();
    if let Some(window) = window {
        settings.extend(INITIAL_WINDOW_SIZE.to_be_bytes());
        settings.extend(window.to_be_bytes());
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &settings));
    bytes
}

/// The headers of a gRPC call, without compression.
fn headers(path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // A literal that enters no table, name and value spelt out; all are shorter than 127.
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(126));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A call that begins, and whose message does not follow.
pub(super) fn begun(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &headers(path))
}

/// A whole call with this message.
pub(super) fn call(stream: u32, path: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = begun(stream, path);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    bytes.extend(frame(DATA, END_STREAM, stream, &framed));
    bytes
}

/// A call is called off.
pub(super) fn call_off(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// The numbers that a client gives its calls.
pub(super) fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// A connection whose end is abrupt: RST, whatever was not sent or read.
pub(super) fn abrupt(address: &str) -> io::Result<TcpStream> {
    let stream = connect(address)?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}

/// A connection.
pub(super) fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads frames for a while, answers pings, and tells the kind and the call of each; whether the
/// connection still stands.
pub(super) fn read_for(
    stream: &mut TcpStream,
    time: Duration,
    mut came: impl FnMut(u8, u32),
) -> io::Result<bool> {
    let end = Instant::now() + time;
    let (mut held, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(read) => held.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error),
        }
        while let Some([a, b, c, kind, flags, number @ ..]) = held.first_chunk::<9>().copied() {
            let length = 9 + ((usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c));
            if held.len() < length {
                break;
            }
            came(kind, u32::from_be_bytes(number));
            if kind == PING && flags & ACK == 0 {
                stream.write_all(&frame(PING, ACK, 0, &held[9..length]))?;
            }
            held.drain(..length);
        }
    }
}

/// A request by HTTP/1.1 and its whole answer.
pub(super) fn plain(address: &str, request: &str, body: &[u8]) -> io::Result<String> {
    let mut stream = connect(address)?;
    let head = format!(
        "{request}connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A page by HTTP/1.1.
pub(super) fn get(address: &str, path: &str) -> io::Result<String> {
    plain(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n"),
        &[],
    )
}
