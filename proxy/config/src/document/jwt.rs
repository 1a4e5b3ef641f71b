//! Tokens as a condition of being served.

use super::{Field, List, Period, Scalar, Table, Text, fields, words};
use crate::model::Name;
use http::HeaderName;
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use std::time::Duration;

/// Answers 401 where a request has no good JSON Web Token (RFC 7519, RFC 6750), 403 where it has one that is for something else.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["keys"])))]
pub(crate) struct Jwt {
    /// Whether there must be a token. `required`: what is guarded is guarded; `optional` lets requests without one pass, never with a bad one.
    pub presence: Field<JwtPresence>,
    /// Who may have issued it (`iss`). Absent: whoever has a key.
    pub issuers: List<Scalar<String>>,
    /// Whom it may be for (`aud`), any of these. Absent: whoever; then a token for another service is good here too.
    pub audiences: List<Scalar<String>>,
    /// What it must allow (`scope` or `scp`), all of these; otherwise 403.
    pub scopes: List<Scalar<String>>,
    /// How it may be signed. Absent: all that sign with a private key; HS256, HS384 and HS512 with `secret_file` alone. `none` is none.
    pub algorithms: List<JwtAlgorithm>,
    /// Who vouches for it.
    pub keys: Field<JwtKeys>,
    /// Difference of clocks that is borne at both ends of its life. 60s, as Envoy.
    pub clock_skew: Text<Duration>,
    /// Whether it must say when it ends (`exp`). `required`: one without end can never be taken back.
    pub expiry: Field<JwtPresence>,
    /// Where it is looked for, in all of these places. Absent: behind `Bearer` in `authorization`.
    pub from: List<JwtPlace>,
    /// Whether the upstream gets to see it. `keep`: many applications read it too.
    pub forward: Field<JwtForward>,
    /// Headers that tell the upstream of claims: `x-user: sub`, `x-groups: realm.groups` for one within another; lists with commas, and no header of a list with a member that has a comma within: a group could be named like two others. Nor is there one of a value with a control character, or with white space at its beginning or end, of the list's members too: it would not arrive as it is. Letters beyond ASCII are sent as UTF-8. A client's own headers of these names are removed, but not on routes where the filter is disabled: a `headers` filter there removes them.
    pub claims_to_headers: Field<Table<HeaderName, Scalar<String>>>,
    /// Under which name wasm filters behind it are told all claims, as Envoy's: with `token`, `sub` is the property `metadata.filter_metadata.envoy.filters.http.jwt_authn.token.sub`. Absent: they are not kept.
    pub payload_in_metadata: Text<String>,
}

fields! { Jwt { presence, issuers, audiences, scopes, algorithms, keys, clock_skew, expiry, from, forward, claims_to_headers, payload_in_metadata } }

impl Default for Jwt {
    fn default() -> Self {
        Self {
            presence: Field::of(JwtPresence::Required),
            issuers: Field::ABSENT,
            audiences: Field::ABSENT,
            scopes: Field::ABSENT,
            algorithms: Field::ABSENT,
            keys: Field::ABSENT,
            clock_skew: Text::scalar(Duration::from_secs(60)),
            expiry: Field::of(JwtPresence::Required),
            from: Field::ABSENT,
            forward: Field::of(JwtForward::Keep),
            claims_to_headers: Field::ABSENT,
            payload_in_metadata: Field::ABSENT,
        }
    }
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum JwtPresence {
    /// It must.
    Required,
    /// It may; if it is there it must be good.
    Optional,
}

words! { JwtPresence { "required" => Required, "optional" => Optional } }

/// Whether a token goes on to the upstream.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum JwtForward {
    /// As it came.
    Keep,
    /// It is taken out.
    Strip,
}

words! { JwtForward { "keep" => Keep, "strip" => Strip } }

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), schemars(inline))]
#[cfg_attr(test, serde(rename_all = "UPPERCASE"))]
pub(crate) enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5, SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5, SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5, SHA-512.
    Rs512,
    /// RSASSA-PSS, SHA-256.
    Ps256,
    /// RSASSA-PSS, SHA-384.
    Ps384,
    /// RSASSA-PSS, SHA-512.
    Ps512,
    /// ECDSA, P-256.
    Es256,
    /// ECDSA, P-384.
    Es384,
    /// Ed25519.
    #[cfg_attr(test, serde(rename = "EdDSA"))]
    EdDsa,
    /// HMAC, SHA-256.
    Hs256,
    /// HMAC, SHA-384.
    Hs384,
    /// HMAC, SHA-512.
    Hs512,
}

words! { JwtAlgorithm {
    "RS256" => Rs256, "RS384" => Rs384, "RS512" => Rs512, "PS256" => Ps256, "PS384" => Ps384, "PS512" => Ps512,
    "ES256" => Es256, "ES384" => Es384, "EdDSA" => EdDsa, "HS256" => Hs256, "HS384" => Hs384, "HS512" => Hs512,
} }

/// Who vouches for tokens. It has exactly one of `file`, `url` and `secret_file`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct JwtKeys {
    /// A file with a JWK Set (RFC 7517 §5); sought beside this document. When it changes, it is taken into use like a changed configuration. Keys of it that cannot be used are passed over with a warning, as long as one can.
    pub file: Text<String>,
    /// A JWK Set that is fetched through `cluster`, once for all workers, such as `https://issuer.example.com/.well-known/jwks.json`. The last good one stays in use. Keys that cannot be used are passed over as those of a `file` are.
    pub url: Text<String>,
    /// With `url`: the cluster that is asked; its `tls` says how it is spoken to.
    pub cluster: Text<Name>,
    /// With `url`: how long a set is used before it is fetched again; an unknown key has it fetched sooner (at most once a second). 5m, as Envoy.
    pub refresh: Text<Period>,
    /// With `url`: time that one attempt may take. 5s.
    pub timeout: Text<Period>,
    /// A file with the secret of HS256, HS384 and HS512, as it is, without the line's end.
    pub secret_file: Text<String>,
}

fields! { JwtKeys { file, url, cluster, refresh, timeout, secret_file } }

impl Default for JwtKeys {
    fn default() -> Self {
        Self {
            file: Field::ABSENT,
            url: Field::ABSENT,
            cluster: Field::ABSENT,
            refresh: Text::scalar(Period(Duration::from_secs(300))),
            timeout: Text::scalar(Period(Duration::from_secs(5))),
            secret_file: Field::ABSENT,
        }
    }
}

/// Where a token may be. It has exactly one of `header`, `query` and `cookie`. Two different tokens, in one place or in several, and a token beside another credential in its field are refused: which one a server would read is not known.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct JwtPlace {
    /// In this header.
    pub header: Text<HeaderName>,
    /// With `header`: behind this word and a space, as `Bearer`. Absent: the whole value.
    pub prefix: Text<String>,
    /// In this query parameter.
    pub query: Text<String>,
    /// In this cookie.
    pub cookie: Text<String>,
}

fields! { JwtPlace { header, prefix, query, cookie } }
