//! A whole HTTP/2 connection fed with any bytes after the preface: it never panics, and it ends once the client left.

#![no_main]

use bytes::Bytes;
use http::Response;
use libfuzzer_sys::fuzz_target;
use pillion_config::model::{
    Connect, EscapedSlashes, Forwarding, ForwardingMode, Http, Http2, HttpLimits, HttpTimeouts, PathPolicy, RequestId,
    Underscores,
};
use pillion_core::{
    body::Incoming,
    downstream::codec::{
        Decoded,
        http2::{Settings, serve},
    },
    drain::Register,
};
use std::{rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::{LocalSet, spawn_local},
    time::timeout,
};

fn model() -> Http {
    Http {
        limits: HttpLimits { headers: 16, header_bytes: 4_096, target_bytes: 1_024 },
        timeouts: HttpTimeouts {
            idle: Duration::from_secs(60),
            header: Duration::from_secs(10),
            body: Some(Duration::from_secs(30)),
            write: Duration::from_secs(30),
        },
        http2: Http2 {
            streams: 4,
            stream_window: 65_536,
            connection_window: 131_072,
            connection_most: 131_072,
            flood_window: Duration::from_secs(30),
            resets: 10,
            reset_by_us: 10,
            pings: 10,
            settings: 10,
            empty_data: 10,
            window_updates: 10,
            priorities: 10,
            continuations: 5,
        },
        path: PathPolicy { resolve_dots: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Keep },
        forwarding: Forwarding {
            x_forwarded: ForwardingMode::Off,
            forwarded: ForwardingMode::Off,
            via: None,
            request_id: RequestId::Pass,
            trusted: Vec::new(),
            trusted_hops: 0,
            strip_identity: true,
        },
        underscores: Underscores::Accept,
        connect: Connect::Allow,
    }
}

/// Echoes the request's body; a refusal gets its status.
async fn service(decoded: Decoded) -> Response<Incoming> {
    let mut response = Response::new(Incoming::Empty);
    match decoded {
        Decoded::Request(inbound) => {
            let (parts, body) = inbound.request.into_parts();
            // What the codec promises about what it lets through.
            assert!(parts.headers.len() <= 16);
            assert!(parts.method == http::Method::CONNECT || parts.uri.path_and_query().is_some());
            assert!(parts.headers.values().all(|value| value.as_bytes() == value.as_bytes().trim_ascii()));
            *response.body_mut() = body;
        }
        Decoded::Reset(..) => {}
        Decoded::Refused(_, refusal) => {
            *response.status_mut() = http::StatusCode::from_u16(refusal.status()).unwrap();
        }
    }
    response
}

fuzz_target!(|input: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (mut client, socket) = duplex(64 * 1024);
        let registration = Rc::<Register>::default().enter(0);
        let control = Rc::clone(registration.control());
        let settings = Rc::new(Settings::new(&model()));
        let server = spawn_local(serve(socket, Bytes::new(), settings, control, service));
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.ok();
        let (mut reader, mut writer) = tokio::io::split(client);
        let reading = spawn_local(async move {
            let mut buf = [0; 4_096];
            while let Ok(1..) = reader.read(&mut buf).await {}
        });
        writer.write_all(input).await.ok();
        writer.shutdown().await.ok();
        let served = timeout(Duration::from_secs(600), server).await.expect("the connection ends").unwrap();
        assert_eq!(served.tally.panics.get(), 0);
        reading.await.unwrap();
    });
});
