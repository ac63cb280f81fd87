//! Connections of a server, by a client that speaks HTTP/2 frame by frame or goes silent.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};

use super::*;
use crate::telemetry::metrics::Registry;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn short_calls_between_two_looks_keep_a_connection() {
    let in_flight = InFlight::default();
    let calls = async {
        for _ in 0..100 {
            sleep(LIMIT / 10).await;
            drop(in_flight.begin());
        }
    };
    tokio::select! {
        () = idle(&in_flight, LIMIT) => panic!("a busy connection was taken for idle"),
        () = calls => {}
    }
    let quiet = Instant::now();
    idle(&in_flight, LIMIT).await;
    assert!(quiet.elapsed() <= LIMIT * 3 / 2);
}

/// Frames of HTTP/2 by hand, so that the server finds all of them at once: a library of the client
/// would not send what it has called off already.
mod frame {
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const HEAD: usize = 9;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    pub(super) fn preface() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes
    }

    /// A call of "/t", without a message.
    pub(super) fn call(stream: u32) -> Vec<u8> {
        // POST and http by their numbers in HPACK's table, the rest spelt out.
        let mut block = vec![0x83, 0x86];
        for (name, value) in [
            (4_u8, "/t"),
            (1, "localhost"),
            // Two bytes of a prefixed number: 15 and 16, content-type.
            (15, "application/grpc"),
        ] {
            block.push(name);
            if name == 15 {
                block.push(16);
            }
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.as_bytes());
        }
        const END_STREAM_AND_HEADERS: u8 = 5;
        frame(HEADERS, END_STREAM_AND_HEADERS, stream, &block)
    }

    pub(super) fn call_off(stream: u32) -> Vec<u8> {
        const CANCEL: u32 = 8;
        frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
    }
}

/// A connection whose client has already said all of this.
async fn said(bytes: &[u8]) -> (DuplexStream, JoinHandle<()>) {
    let (mut client, server) = duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    let limits = Limits::default();
    let closing = CancellationToken::new();
    let metrics = Registry::new().server();
    let calls = Calls::new(axum::Router::new(), &limits, metrics, closing.clone());
    let carried = tokio::spawn(carry(server, Arc::new(calls), limits, closing));
    (client, carried)
}

/// The first frame that answers a call or ends the connection: its kind, stream and payload.
async fn answer(client: &mut DuplexStream) -> (u8, u32, Vec<u8>) {
    loop {
        let mut head = [0; frame::HEAD];
        client.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, _flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        client.read_exact(&mut payload).await.unwrap();
        if [frame::HEADERS, frame::GOAWAY].contains(&kind) {
            return (kind, u32::from_be_bytes(stream), payload);
        }
    }
}

/// So many calls that are called off before the server looks, and one that is not.
fn calls_of_which_the_last_is_meant(called_off: usize) -> (Vec<u8>, u32) {
    let mut bytes = frame::preface();
    let mut streams = (1..).step_by(2);
    for stream in streams.by_ref().take(called_off) {
        bytes.extend(frame::call(stream));
        bytes.extend(frame::call_off(stream));
    }
    let last = streams.next().unwrap();
    bytes.extend(frame::call(last));
    (bytes, last)
}

#[tokio::test]
async fn all_calls_of_a_client_running_out_of_time_at_once_do_not_cut_its_connection() {
    let (bytes, last) = calls_of_which_the_last_is_meant(CALLED_OFF_MAX);
    let (mut client, _carried) = said(&bytes).await;
    let (kind, stream, _) = answer(&mut client).await;
    assert_eq!((kind, stream), (frame::HEADERS, last));
}

#[tokio::test]
async fn calling_off_without_end_ends_the_connection() {
    let (bytes, _) = calls_of_which_the_last_is_meant(CALLED_OFF_MAX + 1);
    let (mut client, carried) = said(&bytes).await;
    let (kind, _, payload) = answer(&mut client).await;
    assert_eq!(kind, frame::GOAWAY);
    assert!(payload.ends_with(b"too_many_resets"), "{payload:?}");
    drop(client);
    carried.await.unwrap();
}
