//! Plain TCP: echo, discard, source.

use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const READ: usize = 64 * 1024;
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// Sends back what it gets.
pub(super) async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

/// Reads and forgets.
pub(super) async fn discard(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Sends zeros until the client leaves.
pub(super) async fn source(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(&ZEROS).await?;
    }
}
