//! What becomes of a connection that one side breaks off: the other side must not take it for a whole one.

use pillion_tests::{
    client::{Client, End},
    pki::{self, Authority},
    proxy::Proxy,
    tempdir::TempDir,
    tls::Offer,
    wait::{self, SOON},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

const SERVER: &str = "spiffe://example.org/ns/shop/sa/server";
const CLIENT: &str = "spiffe://example.org/ns/shop/sa/client";

/// What the server saw of a connection: how much came, and whether it ended in order.
type Seen = (usize, Result<(), std::io::ErrorKind>);

/// A server that says `greeting` and reads to the end; told to, it resets the connection instead.
struct Server {
    address: SocketAddr,
    reached: Receiver<()>,
    seen: Receiver<Seen>,
    reset: Sender<()>,
}

fn server(greeting: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let ((reach, reached), (see, seen), (reset, told)) = (channel(), channel(), channel());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            reach.send(()).ok();
            stream.write_all(&vec![b's'; greeting]).expect("its client reads");
            if greeting > 0 {
                told.recv().expect("the test tells when");
                Client::over(stream).reset();
                continue;
            }
            let mut came = Vec::new();
            let end = stream.read_to_end(&mut came);
            see.send((came.len(), end.map(drop).map_err(|error| error.kind()))).ok();
        }
    });
    Server { address, reached, seen, reset }
}

impl Server {
    fn saw(&self) -> Seen {
        self.seen.recv_timeout(SOON).expect("the connection ends")
    }
}

const RESET: Result<(), std::io::ErrorKind> = Err(std::io::ErrorKind::ConnectionReset);
const LOG: &str =
    "access_log: { path: \"{dir}/access.log\", format: { text: \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" } }";

/// A proxy in the clear before `server`; or two, with TLS between them, of which the first is given.
fn before(server: SocketAddr, legs: usize) -> (Proxy, Option<(Proxy, [TempDir; 2])>) {
    let tcp = |top: &str, listener: &str, endpoint: SocketAddr, cluster: &str| {
        Proxy::start(&format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{LOG}\n{top}\nlisteners: [{{ name: tcp, address: \"{{listen}}\", \
             {listener}tcp: {{ cluster: next }} }}]\nclusters: [{{ name: next, endpoints: [\"{endpoint}\"]{cluster} }}]\n"
        ))
    };
    if legs == 1 {
        return (tcp("", "", server, ""), None);
    }
    let root = Authority::new("root");
    let ((a, client), (b, inbound)) = (pki::identity(&root, CLIENT), pki::identity(&root, SERVER));
    let second = tcp(&inbound, "tls: {}, ", server, "");
    let verified = format!(", tls: {{ mode: mutual, spiffe_ids: [\"{SERVER}\"] }}");
    (tcp(&client, "", second.address, &verified), Some((second, [a, b])))
}

fn await_record(proxy: &Proxy, line: &str) {
    wait::until_true(line, || {
        std::fs::read_to_string(proxy.dir().join("access.log")).is_ok_and(|text| text.trim_end() == line)
    });
}

#[test]
fn a_clients_reset_reaches_the_server_behind_the_bytes_before_it() {
    for legs in [1, 2] {
        let server = server(0);
        let (proxy, _second) = before(server.address, legs);
        for count in [1, 3_000, 200_000] {
            let mut client = proxy.connect();
            client.send("c");
            server.reached.recv_timeout(SOON).expect("the server is reached");
            client.send(vec![b'c'; count - 1]);
            client.reset();
            let (came, end) = server.saw();
            assert_eq!(end, RESET, "{legs} legs, {count} bytes");
            // What no kernel had room for went with the connection that it was on.
            assert!(came == count || (count > 3_000 && came < count), "{legs} legs, {count} bytes: {came}");
        }
        // And an end in order stays one.
        let mut client = proxy.connect();
        client.send("c").half_close();
        assert_eq!(server.saw(), (1, Ok(())), "{legs} legs");
        assert_eq!(client.end_within(SOON), End::Closed, "{legs} legs");
    }
}

#[test]
fn a_servers_reset_reaches_the_client_behind_the_bytes_before_it() {
    for legs in [1, 2] {
        let server = server(5_000);
        let (proxy, _second) = before(server.address, legs);
        let mut client = proxy.connect();
        // A TLS listener speaks when it is spoken to.
        client.send("c");
        assert_eq!(client.bytes(5_000), [b's'; 5_000]);
        server.reset.send(()).expect("it waits");
        assert_eq!(client.end_within(SOON), End::Reset, "{legs} legs");
        await_record(&proxy, "UC upstream_broken");
    }
}

#[test]
fn tls_that_is_cut_without_its_end_is_no_end_behind_it() {
    let (root, server) = (Authority::new("root"), server(0));
    let (_dir, identity) = pki::identity(&root, SERVER);
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{LOG}\n{identity}\nlisteners: [{{ name: tcp, address: \"{{listen}}\", \
         tls: {{}}, tcp: {{ cluster: next }} }}]\nclusters: [{{ name: next, endpoints: [\"{}\"] }}]\n",
        server.address
    ));
    let certificate = root.svid(CLIENT);
    let offer = Offer { certificate: Some(&certificate), ..Offer::default() };
    let mut cut = offer.connect(proxy.address).expect("hands are shaken");
    cut.stream().write_all(b"half of it").expect("it is sent");
    cut.stream().sock.shutdown(Shutdown::Write).expect("a socket can be half closed");
    assert_eq!(server.saw(), (10, RESET), "anybody on the way could have done that");
    await_record(&proxy, "DC downstream_broken");
    let mut whole = offer.connect(proxy.address).expect("hands are shaken");
    whole.stream().write_all(b"all of it").expect("it is sent");
    whole.stream().conn.send_close_notify();
    whole.stream().flush().expect("it is sent");
    assert_eq!(server.saw(), (9, Ok(())));
}
