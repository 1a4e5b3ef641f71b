//! JSON Web Tokens: who shows no good one is answered 401, or 403 where it is good for something else.
//!
//! Where a token is, is decided in [`token`], whether it is good in [`verify`], by which keys in [`keys`]; all pure. Here
//! is what waits: keys that are fetched, by one worker for all, through a cluster of the configuration. The last good
//! ones stay in use until they are replaced. A token that names an unknown key has them fetched anew, at most every
//! [`fetch::PAUSE`] whoever asks and every [`fetch::AGAIN`] for the same key, and waits for that; so do requests that come before the first keys, unless they could not be had. What
//! was verified is remembered for the token's life, by each worker: `what_a_token_costs` (in the tests) measures both ways.

mod fetch;
mod keys;
#[cfg(test)]
mod tests;
mod token;
mod verify;

use super::super::{
    End, Factory, Failed, Filter, HeadStatus, Headers, Instance, Interest, LoadError, LocalReply, Map, Services, Side,
    Stream, Task,
};
use crate::{exchange::filter::metadata::TOKENS, telemetry::ResponseFlag};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use fetch::Fetched;
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use keys::KeySet;
use pillion_config::model::{self, Jwt, JwtForward, JwtKeys, JwtPresence};
use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};
use token::Found;
use verify::{Unfit, Verified, Verifier};

/// Tokens that are remembered by a worker, each with the headers that tell of it (some hundred bytes), and its claims where they are
/// kept: whoever has more
/// clients verifies more often. Envoy's `jwt_cache_size` is 100 where it is asked for.
const MAX_REMEMBERED: usize = 1024;
/// Requests of a worker that may wait for keys.
const MAX_WAITING: usize = 1024;
/// Bytes of a token's head that names an unknown key: those of issuers are a tenth of it.
const MAX_HEAD: usize = 1024;

/// A filter's factory.
#[derive(Debug)]
pub(super) struct JwtAuth {
    model: Arc<Jwt>,
    keys: Keys,
}

/// Where keys come from. Shared by all workers.
#[derive(Debug, Clone)]
enum Keys {
    /// Of a set or a secret that the configuration holds.
    Held(Arc<KeySet>),
    /// Fetched.
    Fetched(Arc<Fetched>),
}

impl JwtAuth {
    /// Reads the keys that the configuration holds.
    pub(super) fn load(filter: &model::Filter, model: &Jwt) -> Result<Self, LoadError> {
        let refused = |reason: String| LoadError::of(filter, model::Part::Definition, reason);
        let keys = match &model.keys {
            JwtKeys::Set(set) => {
                let keys = KeySet::read(set).map_err(|error| refused(format!("the keys cannot be used: {error}")))?;
                for words in keys.passed_over() {
                    tracing::warn!(filter = %filter.name, "a key of tokens is not used: {words}");
                }
                Keys::Held(Arc::new(keys))
            }
            JwtKeys::Secret(secret) => Keys::Held(Arc::new(KeySet::secret(&secret.0))),
            JwtKeys::Url(_) => Keys::Fetched(Arc::default()),
        };
        Ok(Self { model: Arc::new(model.clone()), keys })
    }
}

impl Factory for JwtAuth {
    fn instance(&self, services: Services) -> Rc<dyn Instance> {
        let guard = Rc::new(Guard {
            verifier: Verifier::new(&self.model),
            model: Arc::clone(&self.model),
            keys: RefCell::new(match &self.keys {
                Keys::Held(keys) => Some(Arc::clone(keys)),
                Keys::Fetched(fetched) => fetched.told().keys,
            }),
            fetched: match &self.keys {
                Keys::Held(_) => None,
                Keys::Fetched(fetched) => Some(Arc::clone(fetched)),
            },
            remembered: RefCell::default(),
            waiting: RefCell::default(),
        });
        let task = match (&self.model.keys, &self.keys) {
            (JwtKeys::Url(url), Keys::Fetched(fetched)) => {
                let (url, within) = (url.clone(), services.clone());
                Some(services.spawn(fetch::keep(Rc::clone(&guard), Arc::clone(fetched), url, within)))
            }
            (JwtKeys::Url(_) | JwtKeys::Set(_) | JwtKeys::Secret(_), _) => None,
        };
        Rc::new(Share { guard, _task: task })
    }

    fn lacks(&self) -> Option<String> {
        match (&self.keys, &self.model.keys) {
            (Keys::Fetched(fetched), JwtKeys::Url(url)) => {
                let (reason, model::JwtUrl { host, path, cluster, .. }) = (fetched.never_came()?, url);
                Some(format!(
                    "no keys came yet from {host}{path} by cluster {cluster} ({reason}): who shows a token is answered 503"
                ))
            }
            (Keys::Held(_) | Keys::Fetched(_), _) => None,
        }
    }
}

/// A worker's share.
struct Share {
    guard: Rc<Guard>,
    _task: Option<Task>,
}

/// What a worker's streams look at.
struct Guard {
    model: Arc<Jwt>,
    verifier: Verifier,
    keys: RefCell<Option<Arc<KeySet>>>,
    remembered: RefCell<HashMap<[u8; 32], Rc<Verified>>>,
    /// Streams that wait for keys.
    waiting: RefCell<Vec<Stream>>,
    /// Where keys come from, if they are fetched.
    fetched: Option<Arc<Fetched>>,
}

/// A stream's share.
struct One(Rc<Guard>);

/// What becomes of a request.
enum Verdict {
    /// With a token of this payload, where filters behind are told of it.
    Pass(Option<Rc<str>>),
    Wait,
    Answer(LocalReply),
}

impl Instance for Share {
    fn interest(&self) -> Interest {
        Interest::REQUEST_HEADERS
    }

    fn open(&self, _: &Stream) -> Result<Box<dyn Filter>, Failed> {
        Ok(Box::new(One(Rc::clone(&self.guard))))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Nobody fetches for them any more.
        self.guard.settle(Patience::None);
    }
}

impl Filter for One {
    fn request_headers(&mut self, stream: &Stream, _: End) -> Result<HeadStatus, Failed> {
        let name = &stream.filter().name;
        let verdict = stream.headers(Map::RequestHeaders, |headers| self.0.judge(headers, name, Patience::Some));
        match verdict {
            None => Ok(HeadStatus::Continue),
            Some(Verdict::Pass(payload)) => {
                self.0.tell(stream, payload);
                Ok(HeadStatus::Continue)
            }
            Some(Verdict::Wait) => {
                self.0.waiting.borrow_mut().push(stream.clone());
                Ok(HeadStatus::StopAllIterationAndWatermark)
            }
            Some(Verdict::Answer(reply)) => {
                stream.reply_as(reply, ResponseFlag::Unauthorized).ok();
                Ok(HeadStatus::StopAllIterationAndWatermark)
            }
        }
    }
}

/// Whether a request may wait for keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Some,
    /// It has waited, for a fetch that may have begun before it did.
    Longer,
    /// Nobody fetches any more.
    None,
}

impl Guard {
    /// Judges a request, and changes its head where it passes.
    fn judge(&self, headers: &mut Headers, realm: &model::Name, patience: Patience) -> Verdict {
        for name in self.verifier.headers() {
            // A client's own would be believed.
            headers.remove(name.as_str().as_bytes());
        }
        let token = match token::find(&self.model.places, headers) {
            Found::Token(token) => token,
            Found::Nothing if self.model.presence == JwtPresence::Optional => return Verdict::Pass(None),
            Found::Nothing => return Verdict::Answer(unauthorized(realm, None)),
            Found::Several => return Verdict::Answer(unauthorized(realm, Some(Unfit::Malformed))),
        };
        let verified = match self.verify(token) {
            // Another worker may have just told what this one will hear of next.
            Some(Err(Unfit::UnknownKey)) | None if self.catches_up() => self.verify(token),
            known => known,
        };
        let verified = match verified {
            Some(Err(Unfit::UnknownKey)) | None if self.may_wait(token, patience) => return Verdict::Wait,
            // Told in between.
            Some(Err(Unfit::UnknownKey)) | None if self.catches_up() => self.verify(token),
            known => known,
        };
        let verified = match verified {
            None => return Verdict::Answer(unavailable()),
            Some(Err(unfit)) => return Verdict::Answer(unauthorized(realm, Some(unfit))),
            Some(Ok(verified)) => verified,
        };
        let payload = self.payload(token);
        for (name, value) in &verified.headers {
            headers.add(name.as_str().as_bytes(), value.as_bytes());
        }
        if self.model.forward == JwtForward::Strip {
            token::strip(&self.model.places, headers);
        }
        Verdict::Pass(payload)
    }

    /// What filters behind this one are told of a good token, if they are told; its claims are read when one asks.
    fn payload(&self, token: &str) -> Option<Rc<str>> {
        self.model.payload_in_metadata.as_ref()?;
        token.split('.').nth(1).map(Rc::from)
    }

    fn tell(&self, stream: &Stream, payload: Option<Rc<str>>) {
        if let Some((name, payload)) = self.model.payload_in_metadata.as_ref().zip(payload) {
            stream.tell(TOKENS, name, payload);
        }
    }

    /// `None`: there are no keys yet.
    fn verify(&self, token: &str) -> Option<Result<Rc<Verified>, Unfit>> {
        let keys = self.keys.borrow().clone()?;
        let digest = digest(&SHA256, token.as_bytes());
        let name = <[u8; 32]>::try_from(digest.as_ref()).expect("invariant: SHA-256 has 32 bytes");
        let now = verify::now();
        let mut remembered = self.remembered.borrow_mut();
        match remembered.get(&name) {
            Some(known) if now < known.until => return Some(Ok(Rc::clone(known))),
            Some(_) => {
                remembered.remove(&name);
            }
            None => {}
        }
        let verified = match self.verifier.verify(&keys, token) {
            Ok(verified) => Rc::new(verified),
            Err(unfit) => return Some(Err(unfit)),
        };
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, known| now < known.until);
        }
        if remembered.len() >= MAX_REMEMBERED {
            // A worker with so many clients finds its own pace again.
            remembered.clear();
        }
        remembered.insert(name, Rc::clone(&verified));
        Some(Ok(verified))
    }

    /// Whether keys are fetched, will be soon enough, and there is room to wait for them.
    fn may_wait(&self, token: &str, patience: Patience) -> bool {
        let Some(fetched) = &self.fetched else { return false };
        let (head, _) = token.split_once('.').unwrap_or_default();
        head.len() <= MAX_HEAD && self.waiting.borrow().len() < MAX_WAITING && fetched.is_worth_waiting(head, patience)
    }

    /// Takes the keys that are known to all workers; whether they were others.
    fn catches_up(&self) -> bool {
        self.fetched.as_ref().is_some_and(|fetched| self.renew(fetched.told().keys))
    }

    /// Other keys came, if they are others; what they vouch for is looked at anew.
    fn renew(&self, keys: Option<Arc<KeySet>>) -> bool {
        let same = match (&*self.keys.borrow(), &keys) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            self.keys.replace(keys);
            self.remembered.borrow_mut().clear();
        }
        !same
    }

    /// Whoever waited is judged by what keys there are now.
    fn settle(&self, patience: Patience) {
        for stream in self.waiting.take() {
            let name = stream.filter().name.clone();
            let judged = stream.headers(Map::RequestHeaders, |headers| self.judge(headers, &name, patience));
            match judged {
                Some(Verdict::Pass(payload)) => {
                    self.tell(&stream, payload);
                    stream.resume(Side::Request);
                }
                Some(Verdict::Answer(reply)) => {
                    stream.reply_as(reply, ResponseFlag::Unauthorized).ok();
                }
                // A fetch that had begun before it asked: the next one is under way.
                Some(Verdict::Wait) => {
                    self.waiting.borrow_mut().push(stream);
                }
                // The stream is over.
                None => {}
            }
        }
    }
}

/// 401 or 403 with the challenge of RFC 6750 §3; `None`: there is no token.
fn unauthorized(realm: &model::Name, unfit: Option<Unfit>) -> LocalReply {
    // A name is printable ASCII; a quoted string takes all of that but two (RFC 9110 §5.6.4).
    let realm: String = realm.as_str().chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    let (status, details, challenge, text) = match unfit {
        None => (StatusCode::UNAUTHORIZED, "jwt_missing", format!("Bearer realm=\"{realm}\""), "a token is missing\n"),
        Some(unfit) => {
            let (error, description) = unfit.challenge();
            let challenge = format!("Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{description}\"");
            let text =
                if unfit.status() == StatusCode::FORBIDDEN { "access denied\n" } else { "the token is not accepted\n" };
            (unfit.status(), unfit.details(), challenge, text)
        }
    };
    let mut reply = LocalReply::new(status, details);
    reply.body = Bytes::from_static(text.as_bytes());
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        reply.headers.push((WWW_AUTHENTICATE, challenge));
    }
    reply
}

/// The keys cannot be had: no fault of the client's.
fn unavailable() -> LocalReply {
    let mut reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "jwt_keys_unavailable");
    reply.body = Bytes::from_static(b"tokens cannot be judged now\n");
    reply
}
