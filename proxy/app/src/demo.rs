//! `pillion demo`: an application and the proxy before it, to look around without writing anything.
//!
//! The application runs on a thread of its own, as a separate process would; nothing in it is meant for use.

use crate::{
    assembly::{Plane, Source},
    control::{self, Exit, Hooks, state::State},
    log,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pillion_config::{Loaded, model::AdminAddress};
use std::{
    convert::Infallible,
    fmt::Write as _,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    thread,
    time::Duration,
};
use tokio::{runtime::Builder, time::sleep};

/// Ports tried for the proxy, and for its admin pages.
const PROXY: std::ops::Range<u16> = 8080..8100;
const ADMIN: std::ops::Range<u16> = 15_000..15_020;
/// How long `/slow` takes.
const SLOW: Duration = Duration::from_secs(2);

/// Runs both until Ctrl-C, or for some time.
pub fn run<P: Plane>(plane: impl FnOnce() -> P, exit_after: Option<Duration>) -> ExitCode {
    log::install(log::Level::Warn);
    let started = start_application().and_then(|upstream| Ok((upstream, free(PROXY)?, free(ADMIN)?)));
    let (upstream, listen, admin) = match started {
        Ok(addresses) => addresses,
        Err(error) => {
            eprintln!("pillion: cannot start the demo: {error}");
            return Exit::NotStarted.into();
        }
    };
    let source: Source = Box::new(move || {
        let mut config = pillion_config::simple(listen, &upstream.to_string())?;
        config.admin.address = Some(AdminAddress::Tcp(admin));
        Ok(Loaded { config, warnings: Vec::new(), files: Vec::new() })
    });
    let on_live = Box::new(move |_: &State| {
        let mut out = io::stdout();
        // Whoever started the demo may not want to read it.
        out.write_all(words(listen, upstream, admin).as_bytes()).and_then(|()| out.flush()).ok();
    });
    control::run(plane(), source, Hooks { on_live: Some(on_live), exit_after }).into()
}

fn words(proxy: SocketAddr, application: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "An application listens on {application}, the proxy before it on {proxy}.\n\
         \n\
         Send requests through the proxy:\n\
         \x20 curl -i http://{proxy}/                what the application says\n\
         \x20 curl -i http://{proxy}/headers         what it is told about you\n\
         \x20 curl -i http://{proxy}/status/404      any status\n\
         \x20 curl -i http://{proxy}/slow            an answer after {} seconds; press Ctrl-C meanwhile: it still comes\n\
         \x20 curl -i --http2-prior-knowledge http://{proxy}/headers\n\
         \n\
         Look at the proxy:\n\
         \x20 curl http://{admin}/help               everything there is\n\
         \x20 curl http://{admin}/ready\n\
         \x20 curl http://{admin}/clusters\n\
         \x20 curl http://{admin}/metrics\n\
         \x20 curl http://{admin}/config_dump\n\
         \x20 curl -X POST 'http://{admin}/logging?level=debug'\n\
         \n\
         Ctrl-C drains and ends it.\n",
        SLOW.as_secs(),
    )
}

/// The first address of a range on loopback where nobody listens.
fn free(ports: std::ops::Range<u16>) -> io::Result<SocketAddr> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in ports {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Starts the application and returns where it listens.
fn start_application() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("demo-app".to_owned()).spawn(move || {
        if let Err(error) = application(listener) {
            eprintln!("the demo's application ended: {error}");
        }
    })?;
    Ok(address)
}

fn application(listener: TcpListener) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service_fn(answer));
            tokio::spawn(serving);
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let (status, text) = match path {
        "/" => (StatusCode::OK, "Hello from the demo's application.\n".to_owned()),
        "/headers" => (StatusCode::OK, seen(&request)),
        "/slow" => {
            sleep(SLOW).await;
            (StatusCode::OK, "That took a while.\n".to_owned())
        }
        _ => match path.strip_prefix("/status/").map(str::parse::<StatusCode>) {
            Some(Ok(status)) if status.as_u16() >= 200 => (status, format!("{status}\n")),
            Some(_) => (StatusCode::BAD_REQUEST, "a status from 200 to 999, please\n".to_owned()),
            None => (StatusCode::NOT_FOUND, "known are /, /headers, /slow and /status/404\n".to_owned()),
        },
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

fn seen(request: &Request<Incoming>) -> String {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        // Writing to a String cannot fail.
        writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes())).ok();
    }
    text
}
