//! No cut of the bytes changes what a client hears or what is recorded.

use super::*;

/// What a client hears that sends these bytes in pieces which end there, and then waits; with the records of it.
fn heard(stream: &[u8], ends: &[usize]) -> (Vec<u8>, Vec<String>) {
    let (stream, ends) = (stream.to_vec(), ends.to_vec());
    let (sender, receiver) = std::sync::mpsc::channel();
    run(
        PLAIN,
        |_, _| echo_all(),
        |world| async move {
            let (mut reading, mut writing) = tokio::io::split(world.connect());
            let sending = async {
                let mut begin = 0;
                for end in ends.into_iter().chain([stream.len()]) {
                    if writing.write_all(&stream[begin..end]).await.is_err() {
                        return;
                    }
                    begin = end;
                    settle().await;
                }
            };
            let mut all = Vec::new();
            // The silence behind the last of them ends the connection, if nothing else does.
            let (_, read) = tokio::join!(sending, reading.read_to_end(&mut all));
            read.unwrap();
            sender.send((all, told(&world).await)).unwrap();
        },
    );
    receiver.recv().unwrap()
}

async fn told(world: &World) -> Vec<String> {
    let line = |line: &crate::world::Line| {
        // What is generated for each of them is another each time.
        let told = line.told.split('|').enumerate().map(|(at, part)| if at == 2 { "an id" } else { part });
        format!("{:?}", crate::world::Line { told: told.collect::<Vec<_>>().join("|"), ..line.clone() })
    };
    world.records().await.iter().map(line).collect()
}

/// Answers every request with its method, its target and what it made of its body.
fn echo_all() -> Step {
    serve(|mut stream| async move {
        while let Some(head) = head(&mut stream).await {
            let mut body = vec![0; length(&head)];
            if head.contains("transfer-encoding: chunked") {
                while !body.ends_with(b"0\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    body.push(byte);
                }
                body = body.split(|&byte| byte == b'\n').filter(|line| line.len() > 3).flatten().copied().collect();
            } else if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            let line = head.lines().next().unwrap();
            let told = format!("{line} {}", body.escape_ascii());
            let answer = format!("HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: {}\r\n\r\n{told}", told.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

/// Streams of a connection: good requests, and at the end perhaps something else.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let requests = prop::sample::select(vec![
        "GET /a HTTP/1.1\r\nhost: a\r\n\r\n",
        "\r\nGET /b?c HTTP/1.1\r\nhost: a\r\nx-y: z\r\n\r\n",
        "POST /c HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nGET / HTTP/",
        "POST /d HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        "HEAD /h HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET http://a/abs HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /e HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    ]);
    let ends = prop::sample::select(vec![
        "",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET /l HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /o HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nhos",
        "BREW / COFFEE\r\n\r\n",
    ]);
    (prop::collection::vec(requests, 0..5), ends).prop_map(|(requests, end)| (requests.concat() + end).into_bytes())
}

/// Answers with the dates that the proxy gave its own taken out.
fn undated(all: &[u8]) -> String {
    let text = String::from_utf8_lossy(all);
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_cut_of_the_bytes_changes_requests_or_answers(stream in streams(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        prop_assume!(!stream.is_empty());
        let (whole, records) = heard(&stream, &[]);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        ends.sort_unstable();
        let (cut, cut_records) = heard(&stream, &ends);
        prop_assert_eq!(undated(&cut), undated(&whole), "{} at {:?}", stream.escape_ascii(), ends);
        prop_assert_eq!(cut_records, records);
    }
}

#[test]
fn byte_by_byte_is_as_good_as_whole() {
    let stream = [
        "\r\nPOST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
        "GET /b HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /c HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        "GET /d HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
    ]
    .concat();
    let all: Vec<usize> = (1..stream.len()).collect();
    let (whole, records) = heard(stream.as_bytes(), &[]);
    let (cut, cut_records) = heard(stream.as_bytes(), &all);
    assert_eq!(undated(&cut), undated(&whole));
    assert_eq!((cut_records.len(), cut_records), (4, records));
    assert_eq!(undated(&whole).matches("HTTP/1.1 200 OK").count(), 3, "{}", undated(&whole));
}
