//! The webhook as an API server uses it: connections that are kept, reviews of every shape that is sent, certificates that change
//! under it.

use pillion_tests::{
    client,
    pki::{Authority, Leaf},
    port,
    process::Process,
    proxy::program,
    tempdir::TempDir,
    wait::{self, SOON},
};
use rustix::process::Signal;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::pem::PemObject as _};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const HOST: &str = "injector.mesh.svc";

/// A connection to the webhook that is kept.
struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    fn open(to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SOON))?;
        let name = HOST.try_into().expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self(StreamOwned::new(connection, socket)))
    }

    /// Asks for a review; the status and the answer.
    fn ask(&mut self, path: &str, review: &str) -> io::Result<(u16, Value)> {
        let length = review.len();
        write!(
            self.0,
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{review}"
        )?;
        self.0.flush()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// The certificate that was presented.
    fn presented(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().map_or_else(Vec::new, |chain| chain[0].to_vec())
    }
}

/// A webhook with certificates from files.
struct Webhook {
    process: Process,
    listen: SocketAddr,
    probes: SocketAddr,
    authority: Authority,
    files: TempDir,
    config: Arc<ClientConfig>,
}

impl Webhook {
    fn start() -> Self {
        let authority = Authority::new("cluster");
        let files = TempDir::new();
        let mut roots = RootCertStore::empty();
        let root = rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes());
        roots.add(root.expect("it was made here")).expect("it is one");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("the provider has suites of every version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let [listen, probes] = [(); 2].map(|()| port::free());
        authority.issue(&Leaf { names: &[HOST], ..Leaf::default() }).write(files.path(), "tls");
        let (chain, key) = (files.path().join("tls.pem"), files.path().join("tls.key"));
        let mut command = Command::new(program());
        command.arg("injector").arg("--cert").arg(chain).arg("--key").arg(key);
        command.args(["--listen", &listen.to_string(), "--probes", &probes.to_string()]);
        let mut process = Process::start(&mut command);
        wait::until("it is served", SOON, || {
            assert_eq!(process.ended(), None, "{}", process.stderr());
            TcpStream::connect(probes).ok().map(drop)
        });
        Self { process, listen, probes, authority, files, config: Arc::new(config) }
    }

    fn connect(&self) -> Connection {
        Connection::open(self.listen, &self.config).expect("it listens")
    }

    /// Other certificates in the same files, key and chain one after the other.
    fn rotate(&self) {
        self.authority.issue(&Leaf { names: &[HOST], ..Leaf::default() }).write(self.files.path(), "tls");
    }
}

/// A review as an API server sends one; `more` stands in the request.
fn review(uid: usize, more: &Value) -> String {
    let pod = json!({"group": "", "version": "v1", "kind": "Pod"});
    let pods = json!({"group": "", "version": "v1", "resource": "pods"});
    let mut request = json!({
        "uid": format!("uid-{uid}"), "kind": pod, "resource": pods, "requestKind": pod, "requestResource": pods,
        "name": "web-7d9f", "namespace": "shop", "operation": "CREATE", "oldObject": null, "dryRun": false,
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller",
            "uid": "a-b-c", "groups": ["system:serviceaccounts", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]}},
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        "object": {"kind": "Pod", "apiVersion": "v1",
            "metadata": {"generateName": "web-", "namespace": "shop", "creationTimestamp": null,
                "labels": {"app": "web", "pod-template-hash": "7d9f"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9f",
                    "uid": "r", "controller": true, "blockOwnerDeletion": true}],
                "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:generateName": {}}}}]},
            "spec": {"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}},
                "volumeMounts": [{"name": "kube-api-access-x", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}],
                "volumes": [{"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}],
                "serviceAccountName": "web", "serviceAccount": "web", "enableServiceLinks": true,
                "preemptionPolicy": "PreemptLowerPriority", "priority": 0, "terminationGracePeriodSeconds": 30}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}).to_string()
}

#[test]
fn certificates_change_under_load_and_no_review_is_dropped() {
    let mut webhook = Webhook::start();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let presented: Arc<Mutex<BTreeSet<Vec<u8>>>> = Arc::default();
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (stop, answered, presented) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&presented));
            let (listen, config) = (webhook.listen, Arc::clone(&webhook.config));
            thread::spawn(move || {
                let (mut latencies, mut number) = (Vec::new(), client * 1_000_000);
                while !stop.load(Ordering::Relaxed) {
                    let mut connection = Connection::open(listen, &config).expect("it accepts all the while");
                    // One client keeps its connection over every change.
                    for _ in 0..if client == 0 { 500 } else { 20 } {
                        number += 1;
                        let begun = Instant::now();
                        let text = review(number, &json!({}));
                        let (status, answer) = connection.ask("/mutate", &text).expect("a review is answered");
                        latencies.push(begun.elapsed());
                        assert_eq!(status, 200);
                        assert_eq!(answer["response"]["uid"], format!("uid-{number}"));
                        assert_eq!(answer["response"]["patchType"], "JSONPatch");
                        answered.fetch_add(1, Ordering::Relaxed);
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    presented.lock().expect("nobody panics with it").insert(connection.presented());
                }
                latencies
            })
        })
        .collect();
    let seen = || presented.lock().expect("nobody panics with it").len();
    for rotation in 1..=2 {
        wait::until("reviews under the certificate", SOON, || (seen() >= rotation).then_some(()));
        webhook.rotate();
        wait::until("the other certificate", SOON, || (seen() > rotation).then_some(()));
    }
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<Duration> =
        clients.into_iter().flat_map(|client| client.join().expect("no review failed")).collect();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() as f64 * share) as usize).min(latencies.len() - 1)];
    println!("{} reviews, p50 {:?}, p99 {:?}", latencies.len(), at(0.5), at(0.99));
    let metrics = client::get(webhook.probes, "/metrics").text();
    let total = answered.load(Ordering::Relaxed);
    let line = format!("pillion_injector_reviews_total{{webhook=\"mutate\",outcome=\"injected\"}} {total}");
    assert!(metrics.contains(&line), "{line}\n{metrics}");
    webhook.process.signal(Signal::TERM);
    assert_eq!(webhook.process.wait(SOON).code(), Some(0), "{}", webhook.process.stderr());
}

/// What API servers from 1.29 to 1.34 put into a review, and what is new in each: fields that are not known stay as they are.
#[test]
fn reviews_of_each_version_are_answered() {
    let webhook = Webhook::start();
    let mut connection = webhook.connect();
    let base: Value = serde_json::from_str(&review(0, &json!({}))).expect("JSON");
    let with = |path: &str, value: Value| {
        let mut object = base["request"]["object"].clone();
        *object.pointer_mut(path).expect("a parent").as_object_mut().expect("a mapping") = {
            let mut map = object.pointer(path).expect("a parent").as_object().expect("a mapping").clone();
            map.extend(value.as_object().expect("a mapping").clone());
            map
        };
        json!({ "object": object })
    };
    for (number, (version, more)) in [
        ("1.29: native sidecars", with("/spec", json!({"initContainers": [{"name": "log", "image": "log:1", "restartPolicy": "Always"}]}))),
        ("1.30: AppArmor as a field", with("/spec", json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}))),
        ("1.31: image volumes", with("/spec", json!({"volumes": [{"name": "model", "image": {"reference": "model:1", "pullPolicy": "IfNotPresent"}}]}))),
        ("1.32: resources of the pod", with("/spec", json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}))),
        ("1.33: supplemental groups", with("/spec", json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}}))),
        ("1.34: restart rules", with("/spec/containers/0", json!({"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}))),
        ("a dry run", json!({"dryRun": true})),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = connection.ask("/mutate", &review(number, &more)).expect("an answer");
        let response = &answer["response"];
        assert_eq!((status, &response["allowed"]), (200, &json!(true)), "{version}: {answer}");
        assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
        assert_eq!(response["uid"], format!("uid-{number}"), "{version}");
        assert!(response["patch"].as_str().is_some_and(|patch| patch.len() > 100), "{version}: {answer}");
    }
    for (version, answer) in [("admission.k8s.io/v1beta1", 400), ("admission.k8s.io/v2", 400)] {
        let text = review(9, &json!({})).replace("admission.k8s.io/v1", version);
        let mut connection = webhook.connect();
        assert_eq!(connection.ask("/mutate", &text).map(|(status, _)| status).ok(), Some(answer), "{version}");
    }
}

/// Whoever begins a head and leaves it, or keeps a connection for later, keeps nobody else out.
#[test]
fn places_are_for_those_who_ask() {
    let webhook = Webhook::start();
    let counted = |reason: &str| {
        let text = client::get(webhook.probes, "/metrics").text();
        let line = format!("pillion_injector_turned_away_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse::<usize>().ok()).unwrap_or(0)
    };
    let halves: Vec<_> = (0..256)
        .map(|_| {
            let mut connection = webhook.connect();
            connection.0.write_all(b"POST /mutate HTTP/1.1\r\nHos").and_then(|()| connection.0.flush()).expect("TLS");
            connection
        })
        .collect();
    wait::until("all of them to be closed", SOON, || (counted("head_timeout") == 256).then_some(()));
    let ask = |number| webhook.connect().ask("/mutate", &review(number, &json!({}))).expect("an answer").0;
    assert_eq!(ask(1), 200);
    drop(halves);
    let idle: Vec<_> = (0..256)
        .map(|number| {
            let mut connection = webhook.connect();
            let (status, _) = connection.ask("/mutate", &review(number, &json!({}))).expect("an answer");
            assert_eq!(status, 200);
            connection
        })
        .collect();
    assert_eq!(ask(2), 200);
    assert!(counted("evicted") > 0);
    assert_eq!(counted("connections"), 0);
    drop(idle);
}
