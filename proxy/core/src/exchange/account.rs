//! [`Account`]: an exchange's record together with the connection it came by.
//!
//! A request can end by being dropped anywhere on the path. Who is to blame then only the connection knows: a client
//! that left, or the proxy itself, which cut what was left at the end of a drain.

use super::filter;
use crate::{
    downstream::Connection,
    telemetry::{Blame, Record, ResponseFlag},
};
use std::{
    borrow::Cow,
    fmt,
    ops::{Deref, DerefMut},
    rc::Rc,
};

/// A record that knows who ended it when it is dropped unfinished.
pub struct Account {
    record: Option<Record>,
    connection: Rc<Connection>,
    /// The filters that are told of its end.
    chain: Option<Rc<filter::Shared>>,
    has: Has,
}

/// Whether somebody loses something when it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Begun,
    /// Nobody has said anything yet.
    NotBegun,
}

impl Account {
    /// An account of a request that came by this connection.
    #[must_use]
    pub fn new(record: Record, connection: Rc<Connection>) -> Self {
        connection.worker.register.held().request_begun();
        Self { record: Some(record), connection, chain: None, has: Has::Begun }
    }

    /// Nobody has said anything: whoever cuts it takes nothing from anybody.
    pub fn has_not_begun(&mut self) {
        self.has = Has::NotBegun;
    }

    /// The connection it came by.
    #[must_use]
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Filters that are told of its end.
    pub(crate) fn attach(&mut self, chain: Rc<filter::Shared>) {
        self.chain = Some(chain);
    }

    /// The filters that are told of its end.
    pub(crate) fn chain(&self) -> Option<&Rc<filter::Shared>> {
        self.chain.as_ref()
    }

    /// How a filter ended it, if one did.
    #[must_use]
    pub fn interrupted(&self) -> Option<(ResponseFlag, Cow<'static, str>)> {
        self.chain.as_ref().filter(|chain| chain.interrupted()).map(|chain| chain.cut())
    }

    /// How a filter cut the response, if one did.
    pub(super) fn cut(&self) -> Option<(ResponseFlag, Cow<'static, str>)> {
        self.chain.as_ref().map(|chain| chain.cut())
    }

    /// There is nothing to tell of: what it was begun for is something else, which has an account of its own.
    pub fn withdraw(mut self) {
        if let Some(record) = self.record.take() {
            record.withdraw();
        }
    }

    /// The response went out to its end.
    pub fn finish(mut self) {
        if self.has == Has::Begun {
            self.connection.control().note_lost();
        }
        if let Some(mut record) = self.record.take() {
            if let Some(chain) = self.chain.take() {
                chain.over(&record);
                record.left_by_filters(&chain);
            }
            record.finish();
        }
    }
}

impl Deref for Account {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.record.as_ref().expect("invariant: only finishing takes the record")
    }
}

impl DerefMut for Account {
    fn deref_mut(&mut self) -> &mut Record {
        self.record.as_mut().expect("invariant: only finishing takes the record")
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.connection.worker.register.held().request_ended();
        let Some(record) = &mut self.record else { return };
        self.connection.control().note_lost();
        if let Some((flag, why)) = self.connection.cut() {
            record.flag(flag);
            record.details(why);
            record.terminated_by(Blame::of_cut(flag));
        } else if std::thread::panicking() {
            record.flag(ResponseFlag::LocalReset);
            record.details("panic");
            record.terminated_by(Blame::Proxy);
        } else {
            record.flag(ResponseFlag::DownstreamConnectionTermination);
            record.details("downstream_remote_disconnect");
            record.terminated_by(Blame::Downstream);
        }
        // Not while unwinding: a filter runs code of its own.
        if let Some(chain) = self.chain.take().filter(|_| !std::thread::panicking()) {
            chain.tell_of_aim(record);
            chain.over(record);
            record.left_by_filters(&chain);
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record.fmt(f)
    }
}
