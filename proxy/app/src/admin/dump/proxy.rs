//! The PROXY protocol of listeners and clusters as JSON.

use super::{cidr, time};
use pillion_config::model::*;
use serde_json::{Value, json};

pub(super) fn listener(ProxyProtocol { headers, trusted, timeout, header_bytes }: &ProxyProtocol) -> Value {
    json!({
        "headers": match headers {
            ProxyHeaders::Required => "required",
            ProxyHeaders::Optional => "optional",
        },
        "trusted": trusted.iter().map(cidr).collect::<Vec<_>>(),
        "timeout": time(*timeout),
        "header_bytes": header_bytes,
    })
}

pub(super) fn cluster(Announcement { version, fields }: &Announcement) -> Value {
    let field = |field: &AnnouncedField| match field {
        AnnouncedField::Authority => "authority",
        AnnouncedField::Alpn => "alpn",
        AnnouncedField::Tls => "tls",
        AnnouncedField::UniqueId => "unique-id",
        AnnouncedField::Checksum => "checksum",
    };
    json!({
        "version": match version {
            AnnouncementVersion::V1 => "v1",
            AnnouncementVersion::V2 => "v2",
        },
        "fields": fields.iter().map(field).collect::<Vec<_>>(),
    })
}
