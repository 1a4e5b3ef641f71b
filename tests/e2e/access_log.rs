//! The access log: exactly one record a request, whichever way it ended, and nobody writes lines of his own into it.

use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_tests::{
    client::Client,
    frames::Frames,
    origin::Origin,
    port,
    proxy::{Proxy, Shape},
    scripted::Scripted,
    wait,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, net::SocketAddr, path::Path, thread, time::Duration};

const JSON: &str = "access_log:\n  path: \"{dir}/access.log\"\n  format:\n    json:\n      method: \"%REQ(:METHOD)%\"\n      \
                    path: \"%REQ(:PATH)%\"\n      agent: \"%REQ(USER-AGENT)%\"\n      protocol: \"%PROTOCOL%\"\n      \
                    status: \"%RESPONSE_CODE%\"\n      flags: \"%RESPONSE_FLAGS%\"\n      by: \"%TERMINATED_BY%\"\n      \
                    received: \"%BYTES_RECEIVED%\"\n      sent: \"%BYTES_SENT%\"\n      duration: \"%DURATION%\"\n      \
                    cluster: \"%UPSTREAM_CLUSTER%\"\n      upstream: \"%UPSTREAM_HOST%\"\n      \
                    id: \"%REQ(X-REQUEST-ID)%\"\n";

fn logging(endpoint: SocketAddr, route: &str, listener: &str) -> Proxy {
    Shape { top: JSON, route, listener, ..Shape::default() }.start(endpoint)
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The records once there are so many; panics where there are more.
fn records(proxy: &Proxy, count: usize) -> Vec<Value> {
    let file = proxy.dir().join("access.log");
    wait::until_true(&format!("{count} records"), || lines(&file).len() >= count);
    thread::sleep(Duration::from_millis(150));
    let lines = lines(&file);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn one(proxy: &Proxy) -> Value {
    records(proxy, 1).remove(0)
}

#[test]
fn a_request_that_ends_well() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    assert_eq!(proxy.post("/sink?x=y", &[0; 1000]).status, 200);
    let record = one(&proxy);
    assert_eq!(record["method"], "POST");
    assert_eq!(record["path"], "/sink?x=y");
    assert_eq!(record["protocol"], "HTTP/1.1");
    assert_eq!(record["status"], 200);
    assert_eq!(record["flags"], "-");
    assert_eq!(record["by"], "-");
    assert_eq!(record["received"], 1000);
    assert!(record["sent"].as_u64().is_some_and(|sent| sent > 0) && record["duration"].is_u64(), "{record}");
    assert_eq!(record["cluster"], "origin");
    assert_eq!(record["upstream"], origin.address.to_string());
    assert_eq!(record["id"].as_str().map(str::len), Some(36));
}

#[test]
fn a_client_that_leaves() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    let mut client = proxy.connect();
    client.send("GET /slow/60000 HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until_true("the request to arrive", || origin.requests() == 1);
    client.reset();
    let record = one(&proxy);
    assert_eq!((&record["flags"], &record["by"]), (&"DC".into(), &"downstream".into()), "{record}");
    assert_eq!(record["status"], 0);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_the_response() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    let mut client = Client::connect_narrow(proxy.address, 4096);
    client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    drop(client.bytes(1000));
    client.reset();
    let record = one(&proxy);
    assert_eq!((&record["flags"], &record["status"]), (&"DC".into(), &200.into()), "{record}");
}

#[test]
fn an_http2_stream_that_is_reset() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    let mut frames = Frames::connect(proxy.address);
    frames.get(1, "/slow/60000").expect("a request is sent");
    wait::until_true("the request to arrive", || origin.requests() == 1);
    frames.frame(pillion_tests::frames::kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes()).expect("a reset is sent");
    let record = one(&proxy);
    assert_eq!((&record["flags"], &record["protocol"]), (&"DC".into(), &"HTTP/2".into()), "{record}");
}

#[test]
fn a_server_that_closes_before_answering() {
    let server = Scripted::start(|mut peer| drop(peer.request()));
    let proxy = logging(server.address, "", "");
    let status = proxy.post("/", b"hello").status;
    let record = one(&proxy);
    assert!(record["flags"].as_str().is_some_and(|flags| flags.contains("UC")), "{record}");
    assert_eq!((&record["by"], &record["status"]), (&"upstream".into(), &status.into()), "{record}");
}

#[test]
fn a_server_that_closes_in_the_middle_of_its_response() {
    let server = Scripted::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    let proxy = logging(server.address, "", "");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    drop(client.try_receive("GET").expect_err("the body is cut"));
    let record = one(&proxy);
    assert!(record["flags"].as_str().is_some_and(|flags| flags.contains("UC")), "{record}");
    assert_eq!((&record["by"], &record["sent"]), (&"upstream".into(), &5.into()), "{record}");
}

#[test]
fn a_server_that_does_not_speak_http() {
    let server = Scripted::answering("garbage\r\n\r\n");
    let proxy = logging(server.address, "", "");
    assert_eq!(proxy.get("/").status, 502);
    let record = one(&proxy);
    assert_eq!((&record["flags"], &record["by"]), (&"UPE".into(), &"upstream".into()), "{record}");
}

#[test]
fn a_timeout() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "timeout: 100ms", "");
    assert_eq!(proxy.get("/slow/60000").status, 504);
    let record = one(&proxy);
    assert_eq!((&record["flags"], &record["status"]), (&"UT".into(), &504.into()), "{record}");
}

#[test]
fn nobody_listening() {
    let proxy = logging(port::free(), "", "");
    assert_eq!(proxy.get("/").status, 503);
    let record = one(&proxy);
    assert!(record["flags"].as_str().is_some_and(|flags| flags.contains("UF")), "{record}");
}

#[test]
fn a_refused_request() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    let mut client = proxy.connect();
    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status, 400);
    let record = one(&proxy);
    assert_eq!((&record["status"], &record["by"]), (&400.into(), &"downstream".into()), "{record}");
    assert_eq!(record["flags"], "DPE", "{record}");
}

#[test]
fn no_route() {
    let proxy = logging(port::free(), "", "");
    // Nothing matches `*`, whatever the prefix.
    let mut client = proxy.connect();
    let status = client.exchange("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").status;
    assert_eq!(one(&proxy)["status"], status);
}

#[test]
fn a_websocket() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    let mut client = proxy.connect();
    let upgrade = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(client.exchange(upgrade).status, 101);
    assert_eq!(client.send("hello").bytes(5), b"hello");
    assert!(lines(&proxy.dir().join("access.log")).is_empty(), "the record is written when the tunnel ends");
    drop(client);
    let record = one(&proxy);
    assert_eq!(record["status"], 101);
    assert_eq!((&record["received"], &record["sent"]), (&5.into(), &5.into()), "{record}");
}

#[test]
fn many_requests_many_records() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    let mut client = proxy.connect();
    for number in 0..500 {
        assert_eq!(client.get(&format!("/{number}")).status, 200);
    }
    let records = records(&proxy, 500);
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record["path"], format!("/{number}"));
    }
}

#[test]
fn nobody_writes_records_of_his_own() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    let agents =
        ["\",\"status\":999,\"x\":\"", "\\", "\\\"", "</script>\x09<b>", "caf\u{e9} \u{2028}", "%REQ(HOST)%", "{}[]"];
    for agent in agents {
        let mut client = proxy.connect();
        let request = format!("GET /%22%0A%0D HTTP/1.1\r\nHost: test\r\nUser-Agent: {agent}\r\n\r\n");
        assert_eq!(client.exchange(request).status, 200, "{agent}");
    }
    for (record, agent) in records(&proxy, agents.len()).iter().zip(agents) {
        assert_eq!((&record["status"], &record["path"]), (&200.into(), &"/%22%0A%0D".into()), "{record}");
        if agent.is_ascii() {
            assert_eq!(record["agent"], agent);
        }
    }
}

#[test]
fn text_lines_cannot_be_forged_either() {
    let origin = Origin::start();
    let top = "access_log:\n  path: \"{dir}/access.log\"\n  format: { text: '\"%REQ(USER-AGENT)%\" %RESPONSE_CODE%' }";
    let proxy = Shape { top, ..Shape::default() }.start(origin.address);
    for agent in ["plain", "a\" 999 \"b", "tab\there", "back\\slash", "\u{9b}31m"] {
        let mut client = proxy.connect();
        assert_eq!(client.exchange(format!("GET / HTTP/1.1\r\nHost: t\r\nUser-Agent: {agent}\r\n\r\n")).status, 200);
    }
    let file = proxy.dir().join("access.log");
    wait::until_true("five lines", || lines(&file).len() >= 5);
    let lines = lines(&file);
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], "\"plain\" 200");
    for line in &lines {
        assert!(line.ends_with("\" 200") && line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line:?}");
        // No quote of the client's stands unescaped between the format's two.
        let inner = &line[1..line.len() - 5];
        assert!(!inner.replace("\\\\", "").replace("\\\"", "").contains('"'), "{line:?}");
    }
}

#[test]
fn the_file_is_opened_anew_on_sigusr1() {
    let origin = Origin::start();
    let proxy = logging(origin.address, "", "");
    assert_eq!(proxy.get("/one").status, 200);
    drop(records(&proxy, 1));
    let file = proxy.dir().join("access.log");
    let rotated = proxy.dir().join("access.log.1");
    fs::rename(&file, &rotated).expect("a file can be renamed");
    proxy.signal(Signal::USR1);
    wait::until_true("a new file", || file.exists());
    assert_eq!(proxy.get("/two").status, 200);
    assert_eq!(one(&proxy)["path"], "/two");
    assert_eq!(lines(&rotated).len(), 1);
}

#[test]
fn stdout_is_the_default_and_the_word_json_enough() {
    let origin = Origin::start();
    let proxy = Shape { top: "access_log: {}", ..Shape::default() }.start(origin.address);
    assert_eq!(proxy.get("/here").status, 200);
    let line = wait::until("a record", wait::SOON, || {
        proxy.stdout().lines().find(|line| line.contains("/here")).map(str::to_owned)
    });
    let record: Value = serde_json::from_str(&line).expect("a record is JSON");
    assert!(record.is_object());
}

/// Sets properties as its filters of Envoy do that tell the log what they decided: one at the request's head, one only as it logs.
const DECIDES: &str = r#"(module
  (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "waf.rule")
  (data (i32.const 16) "94\"2\n00")
  (data (i32.const 32) "waf.end")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $set (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 7)))
    (i32.const 0))
  (func (export "proxy_on_log") (param i32)
    (drop (call $set (i32.const 32) (i32.const 7) (i32.const 0) (i32.const 3)))))
"#;

#[test]
fn what_filters_set_is_told() {
    let origin = Origin::start();
    let module = STANDARD.encode(wat::parse_str(DECIDES).expect("the guest's text is right"));
    let told = "%FILTER_STATE(wasm.waf.rule:PLAIN)%";
    let json = format!(
        "rule: \"{told}\", cut: \"{}:2%\", end: \"%FILTER_STATE(wasm.waf.end:PLAIN)%\", \
                        none: \"%FILTER_STATE(wasm.x:PLAIN)%\"",
        told.trim_end_matches('%')
    );
    let top = format!(
        "access_log: {{ path: \"{{dir}}/access.log\", format: {{ json: {{ {json} }} }} }}\n\
         filters: [{{ name: waf, wasm: {{ inline: \"{module}\" }} }}]"
    );
    let proxy = Shape { top: &top, listener: "filters: [waf]", ..Shape::default() }.start(origin.address);
    assert_eq!(proxy.get("/").status, 200);
    let record = one(&proxy);
    assert_eq!(record, serde_json::json!({ "rule": "94\"2\n00", "cut": "94", "end": "waf", "none": null }));
}
