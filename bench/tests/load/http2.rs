//! HTTP/2: streams that share a connection, and servers that say goodbye.

use crate::{assert_all_good, load};
use bytes::Bytes;
use h2::{
    RecvStream,
    server::{self, Connection, SendResponse},
};
use http::{HeaderMap, Request, Response};
use std::{future::Future, net::SocketAddr, sync::mpsc, thread};
use tokio::net::{TcpListener, TcpStream};

/// Serves each connection by `serve`, from a thread that ends with the test's process.
fn h2_server<F>(serve: impl Fn(Connection<TcpStream, Bytes>) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = Result<(), h2::Error>> + 'static,
{
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                if let Ok(connection) = server::handshake(socket).await {
                    tokio::task::spawn_local(serve(connection));
                }
            }
        });
    });
    told.recv().unwrap()
}

fn answer(mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    respond.send_response(Response::new(()), false)?.send_data(Bytes::from_static(b"ok"), true)
}

#[test]
fn streams_share_a_connection() {
    // Nobody is answered before eight ask at once: requests one after another would wait for ever.
    let target = h2_server(async |mut connection| {
        let mut waiting = Vec::new();
        while let Some(accepted) = connection.accept().await {
            let (_, respond) = accepted?;
            waiting.push(respond);
            if waiting.len() == 8 {
                waiting.drain(..).try_for_each(answer)?;
            }
        }
        Ok(())
    });
    let outcome = load(&format!("--target {target} --protocol http2 --streams 8 --rate 80 --duration 0.5"));
    assert_all_good(&outcome, 40);
    assert_eq!(outcome.connections_opened, 1);
}

#[test]
fn an_answer_that_is_not_the_origins() {
    let target = h2_server(async |mut connection| {
        while let Some(accepted) = connection.accept().await {
            answer(accepted?.1)?;
        }
        Ok(())
    });
    let twenty = format!("--target {target} --protocol http2 --rate 20 --duration 0.5");
    let outcome = load(&format!("{twenty} --same-bytes"));
    assert_eq!((outcome.requests, outcome.errors.get("mismatch")), (0, Some(&10)), "{outcome}");
    assert_all_good(&load(&twenty), 10);
}

#[test]
fn a_goodbye_between_requests_is_no_error() {
    let target = h2_server(async |mut connection| {
        let mut served = 0;
        while let Some(accepted) = connection.accept().await {
            let (_, respond) = accepted?;
            answer(respond)?;
            served += 1;
            if served == 5 {
                connection.graceful_shutdown();
            }
        }
        Ok(())
    });
    let outcome = load(&format!("--target {target} --protocol http2 --streams 4 --rate 100 --duration 1"));
    assert_all_good(&outcome, 100);
    assert!(outcome.connections_opened > 1, "{outcome}");
}

#[test]
fn a_stream_reset_is_an_error_of_that_request_alone() {
    let target = h2_server(async |mut connection| {
        let mut number = 0;
        while let Some(accepted) = connection.accept().await {
            let (_, mut respond) = accepted?;
            number += 1;
            if number % 2 == 0 { respond.send_reset(h2::Reason::INTERNAL_ERROR) } else { answer(respond)? }
        }
        Ok(())
    });
    let outcome = load(&format!("--target {target} --protocol http2 --rate 40 --duration 0.5"));
    assert_eq!((outcome.requests, outcome.errors.get("reset")), (10, Some(&10)), "{outcome}");
    assert_eq!(outcome.connections_opened, 1);
}

#[test]
fn grpc_fails_by_its_status() {
    async fn refuse(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "13".parse().unwrap());
        respond.send_response(Response::new(()), false)?.send_trailers(trailers)
    }
    let target = h2_server(async |mut connection| {
        while let Some(accepted) = connection.accept().await {
            let (request, respond) = accepted?;
            tokio::task::spawn_local(refuse(request, respond));
        }
        Ok(())
    });
    let outcome = load(&format!("--target {target} --protocol grpc --body-bytes 10 --rate 20 --duration 0.5"));
    assert_eq!((outcome.requests, outcome.errors.get("grpc_status")), (0, Some(&10)), "{outcome}");
}
