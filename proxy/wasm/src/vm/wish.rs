//! [`Wish`]: how a callback wants a stream to end. It is granted once the callback has returned, as in Envoy: of one that
//! dies, the filter's policy comes first.

use super::state::{Context, Host, StreamContext};
use pillion_config::model::FailPolicy;
use pillion_core::exchange::filter::{LocalReply, Stream};

/// How a stream is to end.
#[derive(Debug)]
pub enum Wish {
    /// By this answer.
    Reply(LocalReply),
    /// Without one.
    Close,
}

impl Wish {
    fn grant(self, stream: &Stream) {
        match self {
            // Refused: it was answered or ended meanwhile, by who came first.
            Self::Reply(reply) => drop(stream.reply(reply)),
            Self::Close => stream.close("wasm_close_stream"),
        }
    }
}

impl Host {
    /// Notes how the stream that host functions act on is to end. A callback's first wish for a stream stands. Nothing if
    /// they act on no stream.
    pub fn wish(&mut self, wish: Wish) {
        let id = self.effective;
        if let Ok(StreamContext { wish: noted @ None, .. }) = self.stream_context() {
            *noted = Some(Box::new(wish));
            self.wishes.push(id);
        }
    }

    /// Grants what the callback that returned wished for.
    pub fn grant_wishes(&mut self) {
        for (stream, wish) in self.take_wishes() {
            wish.grant(&stream);
        }
    }

    /// What the callback wished for.
    pub fn take_wishes(&mut self) -> Vec<(Stream, Wish)> {
        let take = |id| match self.contexts.get_mut(&id) {
            Some(Context::Stream(known)) => Some((known.stream.clone(), *known.wish.take()?)),
            Some(Context::Root(_)) | None => None,
        };
        std::mem::take(&mut self.wishes).into_iter().filter_map(take).collect()
    }
}

/// Grants what a callback that died wished for where its filter is passed by: of another, the stream fails.
pub fn grant_last(wishes: Vec<(Stream, Wish)>) {
    for (stream, wish) in wishes {
        if stream.filter().fail == FailPolicy::Open {
            wish.grant(&stream);
        }
    }
}
