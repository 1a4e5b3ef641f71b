//! Whatever the stages do, and in whatever order, a request is accounted for once.

use super::*;
use crate::telemetry::{
    access_log::{Logger, tests::in_memory},
    metrics::ListenerMetrics,
    testing::Recorded,
};
use http::Request;
use pillion_config::{
    model::{Action, DirectResponse, HostRewrite, LogFormat, Name, PathMatch, PathRewrite, Rewrite, RouteMatch},
    template::{Part, RequestField, Template},
};
use proptest::prelude::*;

fn listener() -> Arc<ListenerTelemetry> {
    listener_with(None)
}

fn listener_with(log: Option<Logger>) -> Arc<ListenerTelemetry> {
    let name = Name("web".into());
    let metrics = Arc::new(ListenerMetrics::register(&name));
    Arc::new(ListenerTelemetry { name, metrics, log })
}

fn begin(listener: &Arc<ListenerTelemetry>) -> Record {
    let connection = ConnectionFacts::new("192.0.2.1:5000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
    let head = Request::builder().uri("/").body(()).unwrap().into_parts().0;
    Record::begin(listener, &Rc::new(connection), &head)
}

fn route() -> Arc<Route> {
    Arc::new(Route {
        name: Name("web/0".into()),
        matcher: RouteMatch {
            destinations: Vec::new(),
            hosts: Vec::new(),
            path: PathMatch::Prefix("/".into()),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        },
        authorization: None,
        action: Action::Respond(DirectResponse {
            status: StatusCode::OK,
            body: Vec::new(),
            content_type: http::HeaderValue::from_static("text/plain"),
        }),
        rewrite: Rewrite { path: PathRewrite::Keep, host: HostRewrite::Keep },
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        timeout: None,
        idle_timeout: None,
        upgrades: Vec::new(),
        filters: None,
        metadata: None,
    })
}

#[derive(Debug, Clone)]
enum Operation {
    Cluster(bool),
    Aim(bool),
    Attempt,
    UpstreamHead(u16),
    Response(u16),
    Trailers,
    Route,
    Flag,
    Blame(Blame),
    Received(u16),
    Sent(u16),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        any::<bool>().prop_map(Operation::Cluster),
        any::<bool>().prop_map(Operation::Aim),
        Just(Operation::Attempt),
        (200u16..1000).prop_map(Operation::UpstreamHead),
        (200u16..1000).prop_map(Operation::Response),
        Just(Operation::Trailers),
        Just(Operation::Route),
        Just(Operation::Flag),
        prop_oneof![Just(Blame::Downstream), Just(Blame::Upstream), Just(Blame::Proxy)].prop_map(Operation::Blame),
        any::<u16>().prop_map(Operation::Received),
        any::<u16>().prop_map(Operation::Sent),
    ]
}

#[derive(Debug, Clone, Copy)]
enum End {
    Finish,
    Drop,
    /// Dropped while the bodies still hold their meters.
    DropBeforeBodies,
    Panic,
}

proptest! {
    #[test]
    fn every_request_is_accounted_for_exactly_once(
        operations in proptest::collection::vec(operation(), 0..12),
        logged in any::<bool>(),
        end in prop_oneof![Just(End::Finish), Just(End::Drop), Just(End::DropBeforeBodies), Just(End::Panic)],
    ) {
        let recorded = Recorded::default();
        let (mut received, mut sent, mut attempts, mut cluster, mut status) = (0, 0, 0, None, 0);
        let mut lines = String::new();
        metrics::with_local_recorder(&recorded, || {
            let clusters = ["one", "two"].map(|name| Arc::new(ClusterMetrics::register(&Name(name.into()))));
            let pieces = [Variable::ResponseCode, Variable::RouteName, Variable::GrpcStatus];
            let pieces = pieces.map(|variable| Part::Variable(variable, None));
            let (log, written) = in_memory(&LogFormat::Text(Template(pieces.into())), 10);
            let mut record = begin(&listener_with(logged.then_some(log)));
            let meter = record.meter();
            assert_eq!(recorded.sum("pillion_exchange_requests_active"), 1.0);
            for operation in &operations {
                match operation {
                    Operation::Cluster(which) => {
                        record.set_cluster(&clusters[usize::from(*which)]);
                        cluster = Some(usize::from(*which));
                        assert_eq!(recorded.sum("pillion_upstream_requests_active"), 1.0);
                    }
                    Operation::Aim(which) => {
                        record.would_go_to(&clusters[usize::from(*which)]);
                        let active = if cluster.is_some() { 1.0 } else { 0.0 };
                        assert_eq!(recorded.sum("pillion_upstream_requests_active"), active);
                    }
                    Operation::Attempt => {
                        record.attempt();
                        attempts += 1;
                    }
                    Operation::UpstreamHead(code) => {
                        record.upstream_head_received(StatusCode::from_u16(*code).unwrap());
                    }
                    Operation::Response(code) => {
                        record.response(StatusCode::from_u16(*code).unwrap(), &HeaderMap::new());
                        status = *code;
                    }
                    Operation::Trailers => record.trailers(&HeaderMap::new()),
                    Operation::Route => record.set_route(&route()),
                    Operation::Flag => record.flag(ResponseFlag::UpstreamTimeout),
                    Operation::Blame(blame) => record.terminated_by(*blame),
                    Operation::Received(bytes) => {
                        meter.received((*bytes).into());
                        received += u64::from(*bytes);
                    }
                    Operation::Sent(bytes) => {
                        meter.sent((*bytes).into());
                        sent += u64::from(*bytes);
                    }
                }
            }
            match end {
                End::Finish => record.finish(),
                End::Drop => drop(record),
                End::DropBeforeBodies => {
                    drop(record);
                    meter.sent(1_000_000);
                }
                End::Panic => {
                    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                        let _record = record;
                        std::panic::resume_unwind(Box::new(()));
                    }));
                    assert!(unwound.is_err());
                }
            }
            lines = written();
        });
        prop_assert_eq!(lines.lines().count(), usize::from(logged));
        prop_assert!(!logged || lines.starts_with(&status.to_string()), "{}", lines);
        let class = match status / 100 {
            0 => "none".to_owned(),
            class => format!("{}xx", class.min(5)),
        };
        prop_assert_eq!(recorded.sum("pillion_exchange_requests_total"), 1.0);
        let of_class = format!("pillion_exchange_requests_total{{listener=web,class={class}}}");
        prop_assert_eq!(recorded.get(&of_class), 1.0);
        prop_assert_eq!(recorded.sum("pillion_exchange_requests_active"), 0.0);
        prop_assert_eq!(recorded.sum("pillion_exchange_duration_seconds"), 1.0);
        prop_assert_eq!(recorded.sum("pillion_exchange_request_bytes_total"), received as f64);
        prop_assert_eq!(recorded.sum("pillion_exchange_response_bytes_total"), sent as f64);
        prop_assert_eq!(recorded.sum("pillion_upstream_requests_active"), 0.0);
        let upstream = if attempts > 0 && cluster.is_some() { 1.0 } else { 0.0 };
        prop_assert_eq!(recorded.sum("pillion_upstream_requests_total"), upstream);
        prop_assert_eq!(recorded.sum("pillion_upstream_duration_seconds"), upstream);
    }
}

/// What the log says of a record's flags and of who ended it.
fn line(fill: impl FnOnce(&mut Record), end: fn(Record)) -> String {
    let pieces = [Variable::ResponseFlags, Variable::TerminatedBy];
    let pieces = pieces.map(|variable| Part::Variable(variable, None));
    let format = LogFormat::Json(vec![("end".into(), Template(pieces.into()))]);
    let (log, written) = in_memory(&format, 10);
    let mut record = begin(&listener_with(Some(log)));
    fill(&mut record);
    end(record);
    written()
}

#[test]
fn an_unfinished_record_is_downstreams_unless_another_was_blamed() {
    assert_eq!(line(|_| (), Record::finish), "{\"end\":\"--\"}\n");
    assert_eq!(line(|_| (), drop), "{\"end\":\"DCdownstream\"}\n");
    let upstream = |record: &mut Record| {
        record.flag(ResponseFlag::UpstreamConnectionTermination);
        record.terminated_by(Blame::Upstream);
        record.terminated_by(Blame::Downstream);
    };
    assert_eq!(line(upstream, drop), "{\"end\":\"UCupstream\"}\n");
    assert_eq!(line(upstream, Record::finish), "{\"end\":\"UCupstream\"}\n");
}

#[test]
fn a_record_stays_small() {
    assert!(size_of::<Record>() <= 216, "{}", size_of::<Record>());
}

#[test]
fn headers_are_rendered_from_what_is_at_hand() {
    use crate::telemetry::Facts;
    let record = begin(&listener());
    let head = Request::builder().uri("/now").header("x-a", "b").body(()).unwrap().into_parts().0;
    let route = route();
    let mut facts = Facts {
        record: &record,
        route: Some(&route),
        request: Some(&head),
        original_path: Some("/then"),
        response: None,
    };
    let value = |facts: &Facts<'_>, variables: Vec<Variable>| {
        let parts = variables.into_iter().map(|variable| Part::Variable(variable, None)).collect();
        facts.header_value(&Template(parts), &mut Vec::new())
    };
    let request = |field| Variable::RequestHeader(field, None);
    let x_a = || RequestField::Header(http::HeaderName::from_static("x-a"));
    for (variable, expected) in [
        (request(RequestField::Path), "/now"),
        (request(RequestField::OriginalPath), "/then"),
        (request(x_a()), "b"),
        (request(RequestField::Scheme), "http"),
        (Variable::RequestHeader(RequestField::Authority, Some(x_a())), "b"),
        (Variable::RouteName, "web/0"),
        (Variable::DownstreamRemoteAddressWithoutPort, "192.0.2.1"),
        (Variable::Protocol, "HTTP/1.1"),
    ] {
        assert_eq!(value(&facts, vec![variable.clone()]).unwrap(), expected, "{variable:?}");
    }
    let status = || Variable::ResponseHeader(http::HeaderName::from_static("x-a"));
    assert_eq!(value(&facts, vec![status()]), None);
    assert_eq!(value(&facts, vec![Variable::ResponseCode]).unwrap(), "0");
    let response = http::Response::builder().status(418).header("x-a", "b").body(()).unwrap().into_parts().0;
    facts.response = Some(&response);
    assert_eq!(value(&facts, vec![status(), status()]).unwrap(), "bb");
    assert_eq!(value(&facts, vec![Variable::ResponseCode]).unwrap(), "418");
    assert_eq!(value(&facts, vec![Variable::StartTime]).unwrap().len(), 24);
}
