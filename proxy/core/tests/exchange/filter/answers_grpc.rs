//! Filters: answers of their own to gRPC requests.

use super::*;

/// What a gRPC call is answered.
async fn call(world: &World) -> Response<h2::RecvStream> {
    let call = request("POST", "/s/m").header("content-type", "application/grpc").body(()).unwrap();
    fetch(&mut http2(world).await, call).await.unwrap()
}

#[test]
fn a_grpc_client_is_answered_in_its_own_terms() {
    for (given, expected) in [(None, "7"), (Some(9), "9")] {
        script("a", move |event, stream| {
            if let Event::RequestHeaders(_) = event {
                stream.reply(LocalReply { grpc_status: given, ..reply(403, "not you") }).unwrap();
            }
            Do::Continue
        });
        run(
            ONE_H2,
            |_, _| h2_server(tell),
            |world| async move {
                let response = call(&world).await;
                assert_eq!(response.status(), 200);
                assert_eq!(response.headers()["grpc-status"], expected);
                assert_eq!(response.headers()["grpc-message"], "not you");
                one_record(&world, (200, "-", "by_filter", "-")).await;
            },
        );
    }
}

/// The SDK for Rust gives a status among the fields. Expected is what Envoy 1.40 answers.
#[test]
fn a_grpc_status_among_a_replys_fields_is_its_status() {
    struct Case(Option<u32>, &'static str, &'static [(&'static str, &'static str)], &'static str, Option<&'static str>);
    let cases = [
        Case(None, "", &[("grpc-status", "16"), ("grpc-message", "no token")], "16", Some("no token")),
        Case(None, "denied", &[("grpc-status", "7"), ("grpc-message", "other")], "7", Some("denied")),
        Case(Some(9), "", &[("grpc-status", "7")], "7", None),
        Case(Some(9), "no", &[("grpc-message", "other")], "9", Some("no")),
        Case(Some(9), "", &[("grpc-message", "other")], "9", Some("other")),
        // Of two messages one is made; an empty status says nothing, and of two the last counts (Envoy makes one that is none).
        Case(None, "", &[("grpc-message", "m1"), ("grpc-message", "m2")], "7", Some("m1,m2")),
        Case(None, "", &[("grpc-status", "")], "7", None),
        Case(None, "", &[("grpc-status", "5"), ("grpc-status", "")], "5", None),
        Case(None, "", &[("grpc-status", "7"), ("grpc-status", "5")], "5", None),
    ];
    for phase in [Event::RequestHeaders(End::Yes), Event::ResponseHeaders(End::No)] {
        for Case(given, text, fields, status, message) in &cases {
            let (given, text, fields, status, message) = (*given, *text, *fields, *status, *message);
            script("a", move |event, stream| {
                if std::mem::discriminant(&event) == std::mem::discriminant(&phase) {
                    let mut answer = LocalReply { grpc_status: given, ..reply(403, text) };
                    answer
                        .headers
                        .extend(fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())));
                    stream.reply(answer).unwrap();
                }
                Do::Continue
            });
            run(
                ONE_H2,
                |_, _| h2_server(tell),
                |world| async move {
                    let response = call(&world).await;
                    let all = |name: &str| -> Vec<String> {
                        response
                            .headers()
                            .get_all(name)
                            .iter()
                            .map(|value| value.to_str().unwrap().to_owned())
                            .collect()
                    };
                    assert_eq!((response.status(), all("grpc-status")), (StatusCode::OK, vec![status.to_owned()]));
                    assert_eq!(all("grpc-message").first().map(String::as_str), message);
                    assert!(all("grpc-message").len() < 2);
                    let record = world.record().await;
                    assert_eq!((record.status, &*record.grpc), (200, status));
                },
            );
        }
    }
}
