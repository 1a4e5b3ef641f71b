//! A server that does as it is told: blocking, a thread a connection.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Listens; `serve(connection, number)` runs for each connection. The threads end with the test's process.
pub(crate) fn server(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, connection) in listener.incoming().flatten().enumerate() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(connection, number));
        }
    });
    address
}

/// Answers each request with `answer(number)`, until that is `None` or the client leaves.
pub(crate) fn answering(mut answer: impl FnMut(usize) -> Option<Vec<u8>>, mut connection: TcpStream) {
    let mut number = 0;
    while read_head(&mut connection) {
        let Some(bytes) = answer(number) else { return };
        if connection.write_all(&bytes).is_err() {
            return;
        }
        number += 1;
    }
}

/// Reads up to the end of a head; `false`: the client left.
pub(crate) fn read_head(connection: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match connection.read(&mut byte) {
            Ok(1) => bytes.extend(byte),
            _ => return false,
        }
    }
    true
}

/// A small good answer.
pub(crate) fn ok() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
}
