//! How far the windows of a connection are opened while it lives: [`Window`] decides, by what a PING measures.
//!
//! Nothing is done, or made, for a connection of which no stream has moved, or holds, more than its window.

use crate::downstream::windows::Window;
use bytes::Bytes;
use h2::{Ping, PingPong, server::Connection};
use std::task::Context;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's windows, and what its client is asked for their sake.
pub(super) struct Way {
    window: Window,
    /// Once something was measured.
    ping: Option<PingPong>,
    /// Whether its answer is to come. Where it never does, windows stay as they are.
    asked: bool,
}

/// What the client is to be told, by the connection when it is polled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Something,
}

impl Way {
    /// Of a connection that begins.
    pub(super) fn new(window: Window) -> Self {
        Self { window, ping: None, asked: false }
    }

    /// As [`Window::fit`].
    #[inline]
    pub(super) fn fit<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        open: usize,
        connection: &mut Connection<S, Bytes>,
    ) {
        self.window.fit(open, connection);
    }

    /// Does what is to be done; so many streams are open.
    #[inline]
    pub(super) fn tend<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        open: impl Fn() -> usize,
        connection: &mut Connection<S, Bytes>,
    ) -> Told {
        if self.window.pace().rests() {
            return Told::Nothing;
        }
        self.tend_now(cx, open(), connection)
    }

    #[cold]
    fn tend_now<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        open: usize,
        connection: &mut Connection<S, Bytes>,
    ) -> Told {
        self.window.pace().looked_at();
        let before = self.window.pace().window();
        if self.asked
            && let Some(ping) = &mut self.ping
            && ping.poll_pong(cx).is_ready()
        {
            self.asked = false;
            self.window.measured(open, connection);
        }
        self.window.fit(open, connection);
        let mut told = if self.window.pace().window() == before { Told::Nothing } else { Told::Something };
        if self.window.pace().wants() && !self.asked {
            if self.ping.is_none() {
                self.ping = connection.ping_pong();
            }
            if self.ping.as_mut().is_some_and(|ping| ping.send_ping(Ping::opaque()).is_ok()) {
                self.asked = true;
                self.window.pace().begin();
                told = Told::Something;
            }
        }
        told
    }
}
