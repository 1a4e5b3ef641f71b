//! Records in, lines out: through the public surface.

mod files;

use super::*;
use crate::telemetry::{
    Blame, ConnectionFacts, ListenerTelemetry, ResponseFlag,
    metrics::{ClusterMetrics, ListenerMetrics},
    testing::Recorded,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use pillion_config::{
    model::{LogFormat, Name},
    template::{Part, RequestField, Template, Variable},
};
use std::rc::Rc;

/// Reads a JSON string strictly (RFC 8259 §7); panics on anything else.
pub(super) fn json_string(text: &str) -> String {
    let (value, rest) = string(text.as_bytes());
    assert_eq!(rest, b"");
    value
}

fn string(text: &[u8]) -> (String, &[u8]) {
    let (mut units, mut rest) = (Vec::new(), text.strip_prefix(b"\"").expect("a string"));
    loop {
        match rest {
            [b'"', tail @ ..] => return (String::from_utf16(&units).expect("UTF-16"), tail),
            [b'\\', b'u', tail @ ..] => {
                let digits = std::str::from_utf8(&tail[..4]).unwrap();
                units.push(u16::from_str_radix(digits, 16).unwrap());
                rest = &tail[4..];
            }
            [b'\\', escaped, tail @ ..] => {
                let plain = match escaped {
                    b'"' | b'\\' | b'/' => *escaped,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => panic!("escape {other}"),
                };
                units.push(u16::from(plain));
                rest = tail;
            }
            [0..0x20, ..] => panic!("control character in a string"),
            _ => {
                let character = std::str::from_utf8(rest).unwrap().chars().next().unwrap();
                units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
                rest = &rest[character.len_utf8()..];
            }
        }
    }
}

/// Reads a flat JSON object; numbers and `null` stay as they are written.
fn json_object(line: &str) -> Vec<(String, String)> {
    let mut rest = line.strip_prefix('{').expect("an object").as_bytes();
    let mut members = Vec::new();
    while !rest.starts_with(b"}") {
        let (key, tail) = string(rest);
        let tail = tail.strip_prefix(b":").expect("a colon");
        let (value, tail) = if tail.starts_with(b"\"") {
            let (value, tail) = string(tail);
            (format!("\"{value}\""), tail)
        } else {
            let end = tail.iter().position(|byte| b",}".contains(byte)).expect("an end");
            (String::from_utf8(tail[..end].to_vec()).unwrap(), &tail[end..])
        };
        members.push((key, value));
        rest = tail.strip_prefix(b",").unwrap_or(tail);
    }
    assert_eq!(rest, b"}");
    members
}

fn literal(text: &str) -> Part {
    Part::Literal(text.into())
}

fn variable(variable: Variable) -> Part {
    Part::Variable(variable, None)
}

fn request(field: RequestField) -> Part {
    variable(Variable::RequestHeader(field, None))
}

fn named(name: &'static str) -> RequestField {
    RequestField::Header(HeaderName::from_static(name))
}

fn text(parts: Vec<Part>) -> LogFormat {
    LogFormat::Text(Template(parts))
}

fn listener(log: Option<Logger>) -> Arc<ListenerTelemetry> {
    let name = Name("web".into());
    let metrics = Arc::new(ListenerMetrics::register(&name));
    Arc::new(ListenerTelemetry { name, metrics, log })
}

fn connection() -> Rc<ConnectionFacts> {
    Rc::new(ConnectionFacts::new("[::ffff:192.0.2.1]:5000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap()))
}

fn head(uri: &str, headers: &[(&'static str, &[u8])]) -> request::Parts {
    let mut request = Request::builder().method("GET").uri(uri).version(Version::HTTP_11);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

/// A log whose lines stay in its queue, and a way to take them out.
pub(in crate::telemetry) fn in_memory(format: &LogFormat, records: usize) -> (Logger, impl Fn() -> String + use<>) {
    let queue = Arc::new(Queue::new(records));
    let taken = queue.clone();
    let format = Arc::new(Format::compile(format));
    let lines = move || {
        let mut batch = Vec::new();
        taken.reopen();
        match taken.take(&mut batch) {
            queue::Task::Write { records, .. } => taken.settle(records),
            queue::Task::End => {}
        }
        String::from_utf8(batch).expect("the log is UTF-8")
    };
    (Logger { format, queue: Arc::new(Producer(queue)) }, lines)
}

fn one(listener: &Arc<ListenerTelemetry>, path: &str) {
    Record::begin(listener, &connection(), &head(path, &[])).finish();
}

#[test]
fn a_text_line_holds_what_the_stages_told() {
    let format = text(vec![
        literal("["),
        request(RequestField::Method),
        literal(" "),
        request(RequestField::OriginalPath),
        literal(" > "),
        request(RequestField::Path),
        literal(" "),
        variable(Variable::Protocol),
        literal("] "),
        variable(Variable::ResponseCode),
        literal(" "),
        variable(Variable::ResponseFlags),
        literal(" "),
        variable(Variable::BytesReceived),
        literal(" "),
        variable(Variable::BytesSent),
        literal(" \""),
        request(named("user-agent")),
        literal("\" "),
        variable(Variable::RequestHeader(named("x-absent"), Some(RequestField::Authority))),
        literal(" "),
        variable(Variable::ResponseHeader(HeaderName::from_static("server"))),
        literal(" "),
        variable(Variable::ResponseTrailer(HeaderName::from_static("x-sum"))),
        literal(" "),
        variable(Variable::UpstreamHost),
        literal(" "),
        variable(Variable::UpstreamCluster),
        literal(" "),
        variable(Variable::UpstreamRequestAttemptCount),
        literal(" "),
        variable(Variable::DownstreamRemoteAddress),
        literal(" "),
        variable(Variable::DownstreamRemoteAddressWithoutPort),
        literal(" "),
        variable(Variable::DownstreamDirectRemoteAddress),
        literal(" "),
        variable(Variable::DownstreamLocalAddress),
        literal(" "),
        variable(Variable::ListenerName),
        literal(" "),
        variable(Variable::ResponseCodeDetails),
        literal(" "),
        variable(Variable::TerminatedBy),
        literal(" "),
        variable(Variable::GrpcStatus),
        literal("\n"),
    ]);
    let (log, lines) = in_memory(&format, 10);
    let listener = listener(Some(log));
    let received = head("/a/b?q", &[("host", b"example.com"), ("user-agent", b"curl \"7\"")]);
    let mut record = Record::begin(&listener, &connection(), &received);
    record.set_client("198.51.100.9:0".parse().unwrap());
    record.set_cluster(&Arc::new(ClusterMetrics::register(&Name("api".into()))));
    record.set_upstream("10.0.0.7:80".parse().unwrap());
    record.attempt();
    record.attempt();
    let mut sent = head("/b?q", &[("host", b"example.com"), ("user-agent", b"curl \"8\"\x09")]);
    sent.headers.append("user-agent", HeaderValue::from_static("more"));
    record.forwarded(&sent);
    let meter = record.meter();
    meter.received(5);
    meter.sent(7);
    meter.sent(8);
    record.upstream_head_received(StatusCode::OK);
    record.response(StatusCode::OK, &head("/", &[("server", b"it")]).headers);
    record.trailers(&head("/", &[("x-sum", b"77"), ("grpc-status", b"13")]).headers);
    record.flag(ResponseFlag::UpstreamRemoteReset);
    record.details("via_upstream");
    record.terminated_by(Blame::Upstream);
    record.finish();
    assert_eq!(
        lines(),
        "[GET /a/b?q > /b?q HTTP/1.1] 200 UR 5 15 \"curl \\x228\\x22\\x09,more\" example.com it 77 \
         10.0.0.7:80 api 2 198.51.100.9:0 198.51.100.9 192.0.2.1:5000 127.0.0.1:8080 web via_upstream \
         upstream 13\n"
    );
}

#[test]
fn what_is_missing_is_a_dash_in_text() {
    let format = text(vec![
        variable(Variable::ResponseCode),
        variable(Variable::UpstreamHost),
        variable(Variable::UpstreamCluster),
        variable(Variable::RouteName),
        variable(Variable::ResponseDuration),
        variable(Variable::GrpcStatus),
        variable(Variable::ResponseFlags),
        variable(Variable::TerminatedBy),
        request(named("x-absent")),
        variable(Variable::ResponseCodeDetails),
    ]);
    let (log, lines) = in_memory(&format, 10);
    one(&listener(Some(log)), "/");
    assert_eq!(lines(), "0---------\n");
}

#[test]
fn json_keeps_types_and_cannot_be_broken_out_of() {
    let limited = Part::Variable(Variable::RequestHeader(RequestField::Path, None), Some(4));
    let members = vec![
        ("status", vec![variable(Variable::ResponseCode)]),
        ("grpc", vec![variable(Variable::GrpcStatus)]),
        ("took", vec![variable(Variable::ResponseDuration)]),
        ("agent", vec![request(named("user-agent"))]),
        ("missing", vec![request(named("x-absent"))]),
        ("mixed \"key\"", vec![literal("\"a\" "), variable(Variable::ResponseCode), request(named("x-absent"))]),
        ("empty", vec![]),
        ("short", vec![limited]),
        ("start", vec![variable(Variable::StartTime)]),
        ("host", vec![variable(Variable::Hostname)]),
    ];
    let format = LogFormat::Json(members.into_iter().map(|(key, parts)| (key.to_owned(), Template(parts))).collect());
    let (log, lines) = in_memory(&format, 10);
    let received = head("/abcdef", &[("user-agent", b"\",\"status\":1,\"\\\xff\x09")]);
    let mut record = Record::begin(&listener(Some(log)), &connection(), &received);
    record.response(StatusCode::OK, &head("/", &[("grpc-status", b"0")]).headers);
    record.trailers(&HeaderMap::new());
    record.finish();
    let line = lines();
    let members = json_object(line.strip_suffix('\n').unwrap());
    let get = |key: &str| members.iter().find(|(name, _)| name == key).unwrap().1.as_str();
    assert_eq!(members.len(), 10);
    assert_eq!(get("status"), "200");
    assert_eq!(get("grpc"), "0");
    assert_eq!(get("took"), "null");
    assert_eq!(get("agent"), "\"\",\"status\":1,\"\\ÿ\t\"");
    assert_eq!(get("missing"), "null");
    assert_eq!(get("mixed \"key\""), "\"\"a\" 200-\"");
    assert_eq!(get("empty"), "\"\"");
    assert_eq!(get("short"), "\"/abc\"");
    assert!(get("start").ends_with("Z\"") && get("start").len() == 26, "{}", get("start"));
    let (log, lines) = in_memory(&LogFormat::Json(Vec::new()), 10);
    one(&listener(Some(log)), "/");
    assert_eq!(lines(), "{}\n");
}

#[test]
fn the_queue_is_bounded_in_records_and_in_bytes() {
    let recorded = Recorded::default();
    let dropped = "pillion_access_log_dropped_total{reason=queue}";
    metrics::with_local_recorder(&recorded, || {
        let (log, lines) = in_memory(&text(vec![request(RequestField::Path)]), 3);
        let telemetry = listener(Some(log));
        for path in ["/1", "/2", "/3", "/4", "/5"] {
            one(&telemetry, path);
        }
        assert_eq!(recorded.get(dropped), 2.0);
        assert_eq!(lines(), "/1\n/2\n/3\n");
        one(&telemetry, "/6");
        assert_eq!(lines(), "/6\n");

        let (log, lines) = in_memory(&text(vec![request(named("x-long"))]), usize::MAX);
        let telemetry = listener(Some(log));
        let long = head("/", &[("x-long", &[b'a'; 60_000])]);
        let before = recorded.get(dropped);
        for _ in 0..1_000 {
            Record::begin(&telemetry, &connection(), &long).finish();
        }
        let kept = 1_000.0 - (recorded.get(dropped) - before);
        let lines = lines();
        assert!(lines.len() <= queue::QUEUE_BYTES && lines.len() > queue::QUEUE_BYTES - 10_000);
        assert_eq!(lines.lines().count() as f64, kept);
        assert_eq!(lines.lines().next().unwrap().len(), capture::VALUE_BYTES);
    });
}
