//! Why a call got no answer, and what that says of the peer.

use h2::Reason;
use tonic::{Code, Status};

use super::{exchange::Peer, innermost};
use crate::status;

/// Why a request got no response. The first two are safe to send again (gRFC A6, transparent
/// retries), the third only if its caller says so.
#[derive(Debug)]
pub(crate) enum SendError {
    /// It never left this process. May be sent elsewhere as often as the deadline allows.
    NotSent(Status),
    /// It left, and the server's library turned it away before the application saw it: by
    /// REFUSED_STREAM, or by a GOAWAY that names a lower stream. May be sent elsewhere once.
    RefusedUnseen(Status),
    /// It left, and nobody knows whether it was processed.
    Unknown(Status),
    /// The call failed on this side: the request's own stream did, or the metadata of the request or
    /// of the answer is larger than allowed. This says why, and nothing of the peer.
    Ours(Status),
}

impl SendError {
    pub(crate) fn into_status(self) -> Status {
        match self {
            Self::NotSent(status)
            | Self::RefusedUnseen(status)
            | Self::Unknown(status)
            | Self::Ours(status) => status,
        }
    }
}

pub(super) fn not_sent(peer: &Peer) -> SendError {
    let reason = peer.wire.reason().unwrap_or_default();
    let message = format!("{}: {reason}", peer.address);
    SendError::NotSent(status::refused(Code::Unavailable, "NOT_SENT", message))
}

/// What the failure of a stream that left means.
pub(super) fn classify(peer: &Peer, stream: u32, error: &h2::Error) -> SendError {
    let reset = error
        .reason()
        .filter(|_| error.is_reset() && error.is_remote());
    if reset == Some(Reason::REFUSED_STREAM) || peer.wire.excludes(stream) {
        let message = format!("{}: {}", peer.address, innermost(error));
        return SendError::RefusedUnseen(status::refused(Code::Unavailable, "NOT_SENT", message));
    }
    SendError::Unknown(match reset {
        Some(reason) => {
            let message = format!("{}: {}", peer.address, innermost(error));
            status::refused(code_of(reason), "STREAM_RESET", message)
        }
        // Our own library reset it, and only it: the connection goes on.
        None if error.is_reset() => {
            let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
            let message = format!(
                "{}: its answer breaks HTTP/2, or has far too many headers: {}",
                peer.address,
                reason.description()
            );
            status::refused(Code::Internal, "ANSWER_MALFORMED", message)
        }
        None => {
            // A timeout of keepalive, say, explains more than "broken pipe".
            let reason = peer.wire.reason().unwrap_or_else(|| innermost(error));
            let message = format!("{}: {reason}", peer.address);
            status::refused(Code::Unavailable, "CONNECTION_LOST", message)
        }
    })
}

/// gRPC's reading of RST_STREAM codes ("gRPC over HTTP2", errors).
fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        Reason::NO_ERROR
        | Reason::PROTOCOL_ERROR
        | Reason::INTERNAL_ERROR
        | Reason::FLOW_CONTROL_ERROR
        | Reason::SETTINGS_TIMEOUT
        | Reason::FRAME_SIZE_ERROR
        | Reason::COMPRESSION_ERROR
        | Reason::CONNECT_ERROR => Code::Internal,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_read_as_grpc_says() {
        assert_eq!(code_of(Reason::CANCEL), Code::Cancelled);
        assert_eq!(code_of(Reason::INTERNAL_ERROR), Code::Internal);
        assert_eq!(code_of(Reason::ENHANCE_YOUR_CALM), Code::ResourceExhausted);
        assert_eq!(code_of(Reason::HTTP_1_1_REQUIRED), Code::Unknown);
    }
}
