//! [`End`]: what one end of a tunnel is to the copy.

use super::upgrade::TunnelEnd;
use crate::{
    exchange::filter::TcpEnd,
    io::{Outgoing, Socket},
    upstream::{ConnectError, Opaque},
};
use std::task::Context;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// One end of a tunnel.
pub(super) trait End: AsyncRead + AsyncWrite + Unpin {
    /// The socket that carries it untouched, if one does.
    fn tcp(&self) -> Option<&TcpStream>;

    /// From here on dropping it says that it was cut, and is no end: a reset.
    fn reset_at_close(&mut self);

    /// What was written to it and has not arrived. A system call, or two.
    fn outgoing(&self) -> Outgoing;

    /// The other end takes nothing for now: what costs more where it waits than its bytes is taken from there.
    fn poll_ahead(&mut self, _: &mut Context<'_>) {}

    /// Whether its bytes are in the record as they pass.
    fn is_counted(&self) -> bool {
        false
    }

    /// Why a server refused us after the handshake, once the connection failed.
    fn late_refusal(&mut self) -> Option<ConnectError> {
        None
    }
}

impl End for Socket {
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            // splice(2) sees nothing of what is redirected.
            Self::Redirectable(_) | Self::Memory(_) | Self::Tls(_) => None,
        }
    }

    fn reset_at_close(&mut self) {
        Socket::reset_at_close(self);
    }

    fn outgoing(&self) -> Outgoing {
        Socket::outgoing(self)
    }
}

impl End for Opaque {
    fn tcp(&self) -> Option<&TcpStream> {
        self.socket().tcp()
    }

    fn reset_at_close(&mut self) {
        self.socket().reset_at_close();
    }

    fn outgoing(&self) -> Outgoing {
        self.socket().outgoing()
    }

    fn late_refusal(&mut self) -> Option<ConnectError> {
        Opaque::late_refusal(self)
    }
}

impl<E: End> End for TcpEnd<'_, E> {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn is_counted(&self) -> bool {
        true
    }

    fn reset_at_close(&mut self) {
        self.inner_mut().reset_at_close();
    }

    fn outgoing(&self) -> Outgoing {
        self.inner().outgoing()
    }

    fn late_refusal(&mut self) -> Option<ConnectError> {
        self.inner_mut().late_refusal()
    }
}

impl End for TunnelEnd {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn reset_at_close(&mut self) {
        TunnelEnd::reset_at_close(self);
    }

    fn outgoing(&self) -> Outgoing {
        TunnelEnd::outgoing(self)
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        TunnelEnd::poll_ahead(self, cx);
    }

    fn late_refusal(&mut self) -> Option<ConnectError> {
        TunnelEnd::late_refusal(self)
    }
}
