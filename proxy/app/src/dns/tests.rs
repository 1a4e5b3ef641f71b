//! Against a name server of our own on loopback.

use super::*;
use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
};
use tokio::{net::UdpSocket, task::LocalSet, time::timeout};

/// What the server says to questions for A; it has no AAAA but where it says so.
#[derive(Clone)]
enum Says {
    Addresses(Vec<Ipv4Addr>, u32),
    NoSuchName,
    Nothing,
    /// One address of each family.
    Both,
    /// The one of IPv6, while questions for A fail (SERVFAIL) or are said to have no answer.
    Ipv6(Ipv4),
}

#[derive(Clone, Copy)]
enum Ipv4 {
    Fails,
    IsGone,
}

struct Server {
    address: SocketAddr,
    says: Rc<RefCell<Says>>,
    asked: Rc<RefCell<u32>>,
}

impl Server {
    /// Serves within the current `LocalSet`.
    async fn start(says: Says) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), says).await
    }

    async fn start_at(address: SocketAddr, says: Says) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (says, asked) = (Rc::new(RefCell::new(says)), Rc::new(RefCell::new(0)));
        let (script, count) = (Rc::clone(&says), Rc::clone(&asked));
        tokio::task::spawn_local(async move {
            let mut query = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut query).await.unwrap();
                *count.borrow_mut() += 1;
                let answer = answer(&query[..length], &script.borrow());
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, says, asked }
    }

    /// Asked again and again; its timeout is short, for the sake of the server that says nothing.
    fn names(&self) -> Names {
        self.names_with(Duration::from_millis(20), Duration::from_millis(300))
    }

    /// Asked once, for as long as the test lasts.
    fn patient_names(&self) -> Names {
        self.names_with(Duration::from_secs(600), SOON)
    }

    fn names_with(&self, refresh: Duration, timeout: Duration) -> Names {
        let settings = Dns { servers: vec![self.address], min_refresh: refresh, max_refresh: refresh, timeout };
        let mut names = Names::new(settings.clone());
        names.hosts_file = PathBuf::from("/nonexistent");
        names.want(&settings, ["app.example.".into()]);
        names
    }
}

/// A response (RFC 1035 §4) to the one question of `query`.
fn answer(query: &[u8], says: &Says) -> Option<Vec<u8>> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0)? + 1;
    let question = &query[12..name_end + 4];
    let is_a = query[name_end..name_end + 2] == [0, 1];
    let (code, records) = match says {
        Says::Nothing => return None,
        Says::NoSuchName => (3, Vec::new()),
        Says::Addresses(addresses, ttl) if is_a => {
            (0, addresses.iter().map(|address| (address.octets().to_vec(), *ttl)).collect())
        }
        Says::Addresses(..) => (0, Vec::new()),
        Says::Both if is_a => (0, vec![(address(1).octets().to_vec(), 0)]),
        Says::Both | Says::Ipv6(_) if !is_a => (0, vec![(IPV6.octets().to_vec(), 0)]),
        Says::Both | Says::Ipv6(Ipv4::IsGone) => (0, Vec::new()),
        Says::Ipv6(Ipv4::Fails) => (2, Vec::new()),
    };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(records.len()).ok()?, 0, 0, 0, 0]);
    out.extend(question);
    for (address, ttl) in records {
        out.extend([0xc0, 12]);
        out.extend(&query[name_end..name_end + 4]);
        out.extend(ttl.to_be_bytes());
        out.extend([0, u8::try_from(address.len()).ok()?]);
        out.extend(address);
    }
    Some(out)
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

const IPV6: std::net::Ipv6Addr = std::net::Ipv6Addr::LOCALHOST;

const SOON: Duration = Duration::from_secs(30);

async fn outcome(names: &mut Names) -> Outcome {
    timeout(SOON, names.next()).await.expect("an update").outcome
}

/// The next outcome of a server that answers. On a busy machine an answer may come after its time; then it is asked again.
async fn answered(names: &mut Names) -> Outcome {
    loop {
        match outcome(names).await {
            Outcome::Failed(Failure::Timeout(_)) => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn an_answer_is_kept_through_every_kind_of_failure() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(Says::Addresses(vec![address(2), address(1), address(2)], 0)).await;
            let mut names = server.names();
            assert!(!names.settled());
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            assert!(names.settled());
            let known = [IpAddr::from(address(1)), address(2).into()];
            assert_eq!(names.addresses("app.example."), known);

            assert_eq!(answered(&mut names).await, Outcome::Same);
            *server.says.borrow_mut() = Says::NoSuchName;
            assert_eq!(answered(&mut names).await, Outcome::Failed(Failure::NotFound));
            *server.says.borrow_mut() = Says::Nothing;
            assert!(matches!(outcome(&mut names).await, Outcome::Failed(Failure::Timeout(_))));
            assert_eq!(names.addresses("app.example."), known);

            *server.says.borrow_mut() = Says::Addresses(vec![address(9)], 0);
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            assert_eq!(names.addresses("app.example."), [IpAddr::from(address(9))]);
        })
        .await;
}

#[tokio::test]
async fn a_family_whose_question_fails_keeps_its_last_good_answer() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(Says::Both).await;
            // Resolvers ask a server that fails again, after a pause of their own.
            let mut names = server.names_with(Duration::from_millis(20), SOON);
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            let both = [IpAddr::from(address(1)), IPV6.into()];
            assert_eq!(names.addresses("app.example."), both);
            *server.says.borrow_mut() = Says::Ipv6(Ipv4::Fails);
            for _ in 0..2 {
                assert_eq!(answered(&mut names).await, Outcome::Same);
            }
            assert_eq!(names.addresses("app.example."), both);
            *server.says.borrow_mut() = Says::Ipv6(Ipv4::IsGone);
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            assert_eq!(names.addresses("app.example."), [IpAddr::from(IPV6)]);
        })
        .await;
}

#[tokio::test]
async fn a_name_is_not_asked_before_its_time_and_settles_by_failing() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(Says::NoSuchName).await;
            let mut names = server.patient_names();
            assert_eq!(outcome(&mut names).await, Outcome::Failed(Failure::NotFound));
            assert!(names.settled());
            let asked = *server.asked.borrow();
            assert!(timeout(Duration::from_millis(200), names.next()).await.is_err());
            assert_eq!(*server.asked.borrow(), asked);
        })
        .await;
}

#[tokio::test]
async fn a_name_that_stays_wanted_keeps_its_answer_and_one_that_goes_is_forgotten() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(Says::Addresses(vec![address(1)], 60)).await;
            let mut names = server.patient_names();
            assert_eq!(outcome(&mut names).await, Outcome::Changed);
            let settings = names.settings.clone();
            names.want(&settings, ["app.example.".into(), "other.example.".into()]);
            assert_eq!(names.addresses("app.example.").len(), 1);
            let asked = *server.asked.borrow();
            let update = timeout(SOON, names.next()).await.unwrap();
            assert_eq!((&*update.host, update.outcome), ("other.example.", Outcome::Changed));
            assert!(*server.asked.borrow() - asked <= 2, "A and AAAA of the new name only");
            names.want(&settings, []);
            assert!(names.addresses("app.example.").is_empty() && names.resolver.is_none());
        })
        .await;
}

#[tokio::test]
async fn names_that_need_no_server_are_known_at_once() {
    let settings = Dns {
        servers: vec!["127.0.0.1:1".parse().unwrap()],
        min_refresh: Duration::from_secs(1),
        max_refresh: Duration::from_secs(60),
        timeout: Duration::from_secs(1),
    };
    let mut names = Names::new(settings.clone());
    names.want(&settings, ["localhost".into()]);
    assert!(names.settled());
    assert!(names.addresses("localhost").iter().all(IpAddr::is_loopback));
    assert!(names.resolver.is_none(), "no resolver was built for it");
}

/// Two servers on the same port of two addresses, and a file that names the first.
async fn two_servers(name: &str) -> (Server, Server, Names, PathBuf) {
    let now = Server::start(Says::Addresses(vec![address(1)], 0)).await;
    let next = Server::start_at((Ipv4Addr::new(127, 0, 0, 2), now.address.port()).into(), Says::NoSuchName).await;
    let folder = std::env::temp_dir().join(format!("pillion-dns-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let refresh = Duration::from_millis(20);
    let settings = Dns { servers: vec![], min_refresh: refresh, max_refresh: refresh, timeout: SOON };
    let mut names = Names::new(settings.clone());
    names.hosts_file = folder.join("hosts");
    names.system.file = folder.join("resolv.conf");
    names.system.port = now.address.port();
    names.want(&settings, ["app.example.".into()]);
    (now, next, names, folder)
}

#[tokio::test]
async fn a_failure_has_the_systems_file_read_again() {
    LocalSet::new()
        .run_until(async {
            let (now, next, mut names, folder) = two_servers("failure").await;
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            *next.says.borrow_mut() = Says::Addresses(vec![address(2)], 0);
            std::fs::write(folder.join("resolv.conf"), "# another\nnameserver 127.0.0.2\n").unwrap();
            assert_eq!(answered(&mut names).await, Outcome::Same, "nobody looks while all is well");
            *now.says.borrow_mut() = Says::NoSuchName;
            while answered(&mut names).await != Outcome::Changed {}
            assert_eq!(names.addresses("app.example."), [IpAddr::from(address(2))]);
            std::fs::remove_file(folder.join("resolv.conf")).unwrap();
            *next.says.borrow_mut() = Says::NoSuchName;
            assert_eq!(
                answered(&mut names).await,
                Outcome::Failed(Failure::NotFound),
                "a file that is gone says nothing"
            );
            std::fs::remove_dir_all(folder).unwrap();
        })
        .await;
}

#[tokio::test]
async fn whoever_asks_has_both_files_read_again() {
    LocalSet::new()
        .run_until(async {
            let (_now, next, mut names, folder) = two_servers("asked").await;
            let settings = Dns { min_refresh: SOON, max_refresh: SOON, ..names.settings.clone() };
            names.want(&settings, ["app.example.".into()]);
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            *next.says.borrow_mut() = Says::Addresses(vec![address(2)], 0);
            std::fs::write(folder.join("resolv.conf"), "# another\nnameserver 127.0.0.2\n").unwrap();
            names.look_again();
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            assert_eq!(names.addresses("app.example."), [IpAddr::from(address(2))]);
            std::fs::write(folder.join("hosts"), "10.0.0.3 app.example\n").unwrap();
            names.look_again();
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            assert_eq!(names.addresses("app.example."), [IpAddr::from(address(3))]);
            std::fs::remove_file(folder.join("hosts")).unwrap();
            names.want(&settings, ["app.example.".into()]);
            assert_eq!(answered(&mut names).await, Outcome::Changed);
            assert_eq!(names.addresses("app.example."), [IpAddr::from(address(2))]);
            std::fs::remove_dir_all(folder).unwrap();
        })
        .await;
}
