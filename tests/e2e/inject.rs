//! Injected pods as network namespaces: what a manifest says is done by hand, as a kubelet would; and the webhook, asked as an
//! API server would.

mod node;
mod rolling;
mod webhook;

use pillion_tests::{
    client::{self, Client},
    namespaces::{Pod, Switch},
    need,
    origin::Origin,
    port,
    process::Process,
    proxy::program,
    python, some_or_return,
    tempdir::TempDir,
    wait::{self, SOON},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

/// What `pillion inject` made of a pod, as a kubelet reads it.
struct Injected {
    rules: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    hook: Option<Vec<String>>,
    probe: String,
    /// The cgroup that its pod is in, where it matters.
    group: Option<PathBuf>,
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn inject(flags: &[&str]) -> Injected {
    inject_with(flags, &json!({"httpGet": {"path": "/healthz", "port": 8080}}))
}

/// A pod whose application has this readiness probe.
fn inject_with(flags: &[&str], probe: &Value) -> Injected {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [
        {"name": "app", "image": "app", "readinessProbe": probe}]}});
    inject_object(flags, &pod, "")
}

/// An object whose pod is at this place.
fn inject_object(flags: &[&str], object: &Value, place: &str) -> Injected {
    let dir = TempDir::new();
    let file = dir.write("object.json", object.to_string());
    let done = Command::new(program()).arg("inject").args(flags).arg(&file).output().expect("the program runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&done.stdout).expect("JSON in, JSON out");
    let pod = object.pointer(place).expect("a pod is there");
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array().cloned().unwrap_or_default());
    let named = |name: &str| lists.iter().flatten().find(|one| one["name"] == name).cloned().unwrap_or_default();
    let proxy = named("pillion-proxy");
    let variable = |one: &Value| Some((one["name"].as_str()?.to_owned(), one["value"].as_str()?.to_owned()));
    Injected {
        rules: words(&named("pillion-init")["args"]),
        arguments: words(&proxy["args"]),
        environment: proxy["env"].as_array().into_iter().flatten().filter_map(variable).collect(),
        hook: Some(words(&proxy["lifecycle"]["preStop"]["exec"]["command"])).filter(|words| !words.is_empty()),
        probe: named("app")["readinessProbe"]["httpGet"]["path"].as_str().unwrap_or_default().to_owned(),
        group: None,
    }
}

/// A program, within a cgroup from its first step on.
fn within(group: Option<&Path>, program: &str) -> Command {
    let Some(group) = group else { return Command::new(program) };
    let mut command = Command::new("sh");
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.display());
    command.args(["-c", &enter, program]);
    command
}

/// The proxy's user, as injection has it.
const USER: &str = "2510";

impl Injected {
    /// What the configuration says is mounted at `at` is in this folder.
    fn mounted(mut self, at: &str, folder: &Path) -> Self {
        for (_, value) in &mut self.environment {
            *value = value.replace(at, &folder.display().to_string());
        }
        self
    }

    /// A variable, as every container of a pod has it.
    fn told(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Runs the hook that begins the end of the pod.
    fn run_hook(&self, pod: &Pod) {
        let hook = self.hook.as_ref().expect("a native sidecar has a hook");
        let done = pod.enter(|| Command::new(program()).args(&hook[1..]).output().expect("the program runs"));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Installs the rules and starts the proxy in a pod, in this order, and waits for its startup probe.
    fn start(&self, pod: &Pod) -> Process {
        if !self.rules.is_empty() {
            pod.enter(|| {
                let rules = Command::new(program()).args(&self.rules).output().expect("the program runs");
                assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));
            });
        }
        self.start_again(pod)
    }

    /// Starts the proxy where the rules are installed already.
    fn start_again(&self, pod: &Pod) -> Process {
        let mut proxy = self.begin(pod);
        pod.enter(|| {
            wait::until("the startup probe", SOON, || {
                assert_eq!(proxy.ended(), None, "{}", proxy.stderr());
                (kubelet("/readyz") == Some(200)).then_some(())
            });
            proxy
        })
    }

    /// The same without waiting for it.
    fn begin(&self, pod: &Pod) -> Process {
        pod.enter(|| {
            let mut command = within(self.group.as_deref(), "setpriv");
            command
                .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
                .arg(program())
                .args(&self.arguments);
            Process::start(command.envs(self.environment.iter().cloned()))
        })
    }
}

/// What a kubelet is answered on the proxy's probe port; in the pod.
fn kubelet(path: &str) -> Option<u16> {
    kubelet_at(Ipv4Addr::LOCALHOST.into(), path)
}

/// The same at an address of a pod.
fn kubelet_at(address: IpAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect((address, 15020)).ok()?;
    let mut client = Client::over(stream);
    client.try_send(format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.1:15020\r\nConnection: close\r\n\r\n")).ok()?;
    client.try_receive("GET").ok().map(|response| response.status)
}

/// An application in a pod.
fn application(pod: &Pod, port: u16) -> Origin {
    pod.enter(|| Origin::start_at((Ipv4Addr::UNSPECIFIED, port).into()))
}

fn reachable(from: &Pod, to: SocketAddr) -> bool {
    from.enter(|| {
        let Ok(stream) = TcpStream::connect(to) else { return false };
        let mut client = Client::over(stream);
        let sent = client.try_send("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
        sent.is_ok() && client.try_receive("GET").is_ok_and(|response| response.status == 200)
    })
}

/// Two pods: one that is injected, and one beside it without a proxy.
fn pods() -> Option<(Switch, Pod, Pod)> {
    need::program("nft", "nftables")?;
    need::program("setpriv", "util-linux")?;
    let switch = Switch::new()?;
    let (pod, other) = (switch.pod(), switch.pod());
    Some((switch, pod, other))
}

#[test]
fn a_container_beside_the_application_leaves_after_it() {
    let (_switch, pod, other) = some_or_return!(pods());
    let injected = inject(&["--mode", "container", "--drain-delay", "0s"]);
    assert_eq!(injected.hook, None);
    let mut proxy = injected.start(&pod);
    let (inside, outside) = (SocketAddr::from((pod.ipv4, 8080)), SocketAddr::from((other.ipv4, 9000)));
    // The probe finds the application as it is, through the proxy.
    assert_eq!(pod.enter(|| kubelet(&injected.probe)), Some(503), "nobody listens yet");
    let app = application(&pod, 8080);
    assert_eq!(pod.enter(|| kubelet(&injected.probe)), Some(200));
    let _other_app = application(&other, 9000);
    assert!(reachable(&other, inside) && reachable(&pod, outside), "{}", proxy.stderr());
    let metrics = pod.enter(|| client::get((Ipv4Addr::LOCALHOST, 15020).into(), "/metrics")).text();
    for listener in ["inbound", "outbound"] {
        let line = format!("pillion_exchange_requests_total{{listener=\"{listener}\",class=\"2xx\"}} 1");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    // The pod's end: both containers get the signal at once, and the application takes its time.
    proxy.signal(Signal::TERM);
    wait::until("inbound closes", SOON, || (!reachable(&other, inside)).then_some(()));
    thread::sleep(std::time::Duration::from_secs(3));
    assert!(reachable(&pod, outside), "outbound goes on while the application is there: {}", proxy.stderr());
    assert_eq!(pod.enter(|| kubelet("/readyz")), Some(503));
    drop(app);
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
}

#[test]
fn an_application_that_has_no_socket_when_the_signal_comes_can_send_still() {
    let (_switch, pod, other) = some_or_return!(pods());
    let injected = inject(&["--mode", "container", "--drain-delay", "0s"]);
    let mut proxy = injected.start(&pod);
    let _other_app = application(&other, 9000);
    let outside = SocketAddr::from((other.ipv4, 9000));
    proxy.signal(Signal::TERM);
    wait::until_true("the drain", || proxy.stderr().contains("draining"));
    // It works on something, longer than one that listened would be looked for.
    thread::sleep(std::time::Duration::from_secs(4));
    assert!(reachable(&pod, outside), "{}", proxy.stderr());
    // Who asks by hand knows that it has gone.
    let quit = pod.enter(|| Command::new(program()).arg("quit").output().expect("the program runs"));
    assert!(quit.status.success(), "{}", String::from_utf8_lossy(&quit.stderr));
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
}

#[test]
fn an_application_of_which_nothing_tells_is_waited_for_until_the_deadline_and_nothing_is_cut() {
    let (_switch, pod, _other) = some_or_return!(pods());
    let injected = inject(&["--mode", "container", "--drain-delay", "0s", "--drain-deadline", "5s"]);
    let mut proxy = injected.start(&pod);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
}

/// Runs the proxy and an application in a process namespace of their own, as the containers of a pod that shares it: the proxy,
/// its hook, then the application, which is a line of shell.
fn sharing_processes(pod: &Pod, injected: &Injected, word: &str, application: &str) -> Process {
    let mut environment = injected.environment.clone();
    environment.retain(|(name, _)| name != "PILLION_APPLICATION");
    environment.push(("PILLION_APPLICATION".to_owned(), word.to_owned()));
    pod.enter(|| {
        let rules = Command::new(program()).args(&injected.rules).output().expect("the program runs");
        assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));
    });
    let arguments = injected.arguments.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    // The first process stands for `pause`.
    let script = format!(
        "as='setpriv --reuid {USER} --regid {USER} --clear-groups --'; $as {program} {arguments} & proxy=$!
        $as {program} wait || exit 9
        {application}
        wait $proxy",
        program = program().display()
    );
    pod.enter(|| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script]);
        Process::start(command.envs(environment.iter().cloned()))
    })
}

#[test]
fn processes_that_are_seen_tell_when_the_application_has_gone() {
    let (_switch, pod, _other) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    let injected = inject(&["--mode", "container", "--drain-delay", "0s"]);
    // It ends six seconds after the signal, and so does the proxy, long before its deadline.
    let script = "sleep 6 & application=$!; kill $proxy; wait $application; echo the application has gone >&2";
    let mut pair = sharing_processes(&pod, &injected, "processes", script);
    assert_eq!(pair.wait(SOON).code(), Some(0), "{}", pair.stderr());
    let said = pair.stderr();
    let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words}: {said}"));
    assert!(at("inbound listeners closed") < at("the application has gone"), "{said}");
    assert!(at("the application has gone") < said.rfind("listeners closed").unwrap_or(0), "{said}");
}

#[test]
fn a_job_that_lives_for_a_moment_ends() {
    let (_switch, pod, _other) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    let injected = inject(&["--mode", "container", "--drain-delay", "0s"]);
    let mut job = sharing_processes(&pod, &injected, "job-on-failure", "/bin/true");
    assert_eq!(job.wait(SOON * 2).code(), Some(0), "{}", job.stderr());
    assert!(job.stderr().contains("the application's end"), "{}", job.stderr());
}

/// The container's own shell asks, and waits for the answer: neither of the two is the application any more.
#[test]
fn who_asks_a_jobs_proxy_to_leave_is_not_waited_for() {
    let (_switch, pod, beside) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    let injected = inject(&["--mode", "container", "--drain-delay", "0s"]);
    let asks = |before: &str| {
        let program = program();
        format!("sh -c '{before} {} quit --timeout 8s; echo \"quit: $?\" >&2; sleep 1'", program.display())
    };
    let mut job = sharing_processes(&pod, &injected, "job", &asks(""));
    assert_eq!(job.wait(SOON).code(), Some(0), "{}", job.stderr());
    assert!(job.stderr().contains("quit: 0"), "{}", job.stderr());
    // What works on beside them is, and is named.
    let mut job = sharing_processes(&beside, &injected, "job", &asks("sleep 12 &"));
    assert_eq!(job.wait(SOON).code(), Some(0), "{}", job.stderr());
    let said = job.stderr();
    assert!(said.contains("quit: 1") && said.contains("still draining after 8s"), "{said}");
    assert!(said.contains("the proxy still waits for ") && said.contains("(sleep)"), "{said}");
}

/// Who reads what the shell prints ends when the shell has, so each would wait for the other; and so does what is only there for the log.
#[test]
fn who_ends_only_with_who_asked_is_not_waited_for() {
    let (_switch, pod, beside) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    let injected = inject(&["--mode", "container", "--drain-delay", "0s"]);
    let program = program();
    let quit = format!("{} quit --timeout 8s", program.display());
    for (pod, line) in [
        (&pod, format!("{{ {quit} >/dev/null; echo \"quit: $?\" >&2; sleep 1; }} | cat | cat >/dev/null")),
        (&beside, format!("tail -f /dev/null & {quit} --except $!; echo \"quit: $?\" >&2; kill $!")),
    ] {
        let mut job = sharing_processes(pod, &injected, "job", &format!("sh -c '{line}'"));
        assert_eq!(job.wait(SOON).code(), Some(0), "{}", job.stderr());
        assert!(job.stderr().contains("quit: 0"), "{line}: {}", job.stderr());
    }
}

#[test]
fn a_native_sidecar_announces_the_end_and_leaves_when_told() {
    let (_switch, pod, other) = some_or_return!(pods());
    let injected = inject(&["--drain-delay", "0s"]);
    let mut proxy = injected.start(&pod);
    let app = application(&pod, 8080);
    let _other_app = application(&other, 9000);
    let (inside, outside) = (SocketAddr::from((pod.ipv4, 8080)), SocketAddr::from((other.ipv4, 9000)));
    assert!(reachable(&other, inside) && reachable(&pod, outside), "{}", proxy.stderr());
    // The hook has no shell: it is the program itself.
    let hook = injected.hook.clone().expect("a native sidecar has a hook");
    assert_eq!(hook, ["/pillion", "drain"]);
    let done = pod.enter(|| Command::new(program()).args(&hook[1..]).output().expect("the program runs"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    wait::until("inbound closes", SOON, || (!reachable(&other, inside)).then_some(()));
    assert!(reachable(&pod, outside), "{}", proxy.stderr());
    drop(app);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
}

/// A Job's pod, with a native sidecar.
fn native_job(flags: &[&str]) -> Injected {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": {
        "spec": {"restartPolicy": "Never", "initContainers": [{"name": "first", "image": "app"}],
            "containers": [{"name": "app", "image": "app"}]}}}});
    inject_object(flags, &job, "/spec/template")
}

/// A peer that greets and never closes, and a line of bash that talks to it.
fn talk_to_who_does_not_close(other: &Pod) -> String {
    let listener = other.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9100)).expect("the port is free"));
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            stream.write_all(b"hello\n").ok();
            kept.push(stream);
        }
    });
    format!("exec 3<>/dev/tcp/{}/9100; printf '\\000\\n' >&3; read line <&3; sleep 2; echo $line >&2", other.ipv4)
}

/// A kubelet runs its hook and signals it when the last other container has ended, and only then: whoever left by himself before
/// would be started anew, with `restartPolicy: Always`.
#[test]
fn a_job_with_a_native_sidecar_ends_when_the_kubelet_says_so() {
    let (_switch, pod, other) = some_or_return!(pods());
    let injected = native_job(&[]);
    let _other_app = application(&other, 9000);
    let outside = SocketAddr::from((other.ipv4, 9000));
    let mut proxy = injected.start(&pod);
    // An init container of its own comes behind the sidecar, and goes through it.
    assert!(reachable(&pod, outside), "{}", proxy.stderr());
    // Killed while the application runs, it is started anew.
    proxy.signal(Signal::KILL);
    proxy.wait(SOON);
    let mut proxy = injected.start_again(&pod);
    assert!(reachable(&pod, outside), "{}", proxy.stderr());
    let line = "pillion_exchange_requests_total{listener=\"outbound\",class=\"2xx\"} 1";
    let metrics = pod.enter(|| client::get((Ipv4Addr::LOCALHOST, 15020).into(), "/metrics")).text();
    assert!(metrics.contains(line), "{metrics}");
    // The application has nothing open and no process, for longer than a container beside it would wait for it.
    thread::sleep(std::time::Duration::from_secs(22));
    assert_eq!(proxy.ended(), None, "{}", proxy.stderr());
    injected.run_hook(&pod);
    proxy.signal(Signal::TERM);
    // Nobody comes in any more, and what the delay is for is no Job's.
    assert_eq!(proxy.wait(std::time::Duration::from_secs(4)).code(), Some(0), "{}", proxy.stderr());
}

/// The sidecar says that something was cut; of a pod's native sidecars no exit code counts, so that the Job has succeeded.
#[test]
fn a_job_with_a_native_sidecar_whose_peer_does_not_close_ends_at_the_deadline() {
    let (_switch, pod, other) = some_or_return!(pods());
    some_or_return!(need::program("bash", "bash"));
    let injected = native_job(&["--drain-deadline", "3s"]);
    let talk = talk_to_who_does_not_close(&other);
    let mut proxy = injected.start(&pod);
    let done = pod.enter(|| Command::new("bash").args(["-c", &talk]).output().expect("bash runs"));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "hello\n", "{}", proxy.stderr());
    injected.run_hook(&pod);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(3), "{}", proxy.stderr());
    assert!(proxy.stderr().contains("deadline has passed"), "{}", proxy.stderr());
}

#[test]
fn a_job_ends_with_its_application() {
    let (_switch, pod, _other) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    let injected = inject(&["--mode", "container", "--drain-delay", "0s"]);
    let mut job = sharing_processes(&pod, &injected, "job", "sleep 3");
    assert_eq!(job.wait(SOON * 2).code(), Some(0), "{}", job.stderr());
    assert!(job.stderr().contains("the application's end"), "{}", job.stderr());
}

/// A database that keeps a connection open whose other side has closed must not make a failure of a Job that succeeded.
#[test]
fn a_job_whose_peer_does_not_close_ends_well_at_the_deadline() {
    let (_switch, pod, other) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    some_or_return!(need::program("bash", "bash"));
    let injected = inject(&["--mode", "container", "--drain-delay", "0s", "--drain-deadline", "3s"]);
    let talk = talk_to_who_does_not_close(&other);
    let mut job =
        sharing_processes(&pod, &injected, "job", &format!("bash -c \"{talk}\"", talk = talk.replace('$', "\\$")));
    assert_eq!(job.wait(SOON * 2).code(), Some(0), "{}", job.stderr());
    let said = job.stderr();
    for words in ["hello", "the application's end", "deadline has passed", "left open when it ended", "code=0"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A file that a line of shell reads from without starting a process: it waits there until somebody writes.
fn gate(dir: &TempDir) -> PathBuf {
    let gate = dir.path().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status().expect("coreutils are there");
    assert!(made.success());
    gate
}

#[test]
fn a_job_waits_for_each_of_its_containers() {
    let (_switch, pod, _other) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    let (injected, dir) = (inject(&["--mode", "container", "--drain-delay", "0s"]), TempDir::new());
    let gate = gate(&dir);
    // The image of the second container is pulled while none runs.
    let containers = format!("sleep 2; read _ < {}; sleep 5; echo the second has gone >&2", gate.display());
    let mut job = sharing_processes(&pod, &injected, "job:2", &containers);
    wait::until_true("the proxy", || pod.enter(|| kubelet("/readyz")) == Some(200));
    // Longer than one that is known to be the last is waited for.
    thread::sleep(std::time::Duration::from_secs(28));
    assert_eq!(pod.enter(|| kubelet("/readyz")), Some(200), "{}", job.stderr());
    fs::write(gate, "\n").expect("the shell reads it");
    assert_eq!(job.wait(SOON * 2).code(), Some(0), "{}", job.stderr());
    let said = job.stderr();
    let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words}: {said}"));
    assert!(at("the second has gone") < at("the application's end"), "{said}");
}

#[test]
fn a_job_ends_though_its_proxy_was_killed_with_its_application() {
    let (_switch, pod, _other) = some_or_return!(pods());
    some_or_return!(need::program("unshare", "util-linux"));
    let (mut injected, dir) = (inject(&["--mode", "container", "--drain-delay", "0s"]), TempDir::new());
    // As an `emptyDir` is: whoever the container runs as writes there.
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).expect("it is ours");
    let record = dir.path().join("application");
    injected = injected.told("PILLION_APPLICATION_RECORD", record.display());
    let gate = gate(&dir);
    let arguments = injected.arguments.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    // A kubelet starts it anew, and its hook.
    let script = format!(
        "sleep 4; kill -9 $proxy; wait $proxy; read _ < {}; $as {program} {arguments} & proxy=$!; $as {program} wait || exit 9",
        gate.display(),
        program = program().display()
    );
    let mut job = sharing_processes(&pod, &injected, "job-on-failure", &script);
    wait::until_true("the application is noted", || {
        fs::read_to_string(&record).is_ok_and(|text| text.contains("\"came\":true"))
    });
    wait::until_true("the proxy was killed", || pod.enter(|| kubelet("/readyz")).is_none());
    fs::write(gate, "\n").expect("the shell reads it");
    assert_eq!(job.wait(SOON * 4).code(), Some(0), "{}", job.stderr());
    assert!(job.stderr().contains("the application's end"), "{}", job.stderr());
}

/// An API server that knows two webhook configurations, and takes patches of them.
fn api_server(name: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let patches: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&patches);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok();
            let object =
                json!({"metadata": {"name": name, "resourceVersion": "7"}, "webhooks": [{"clientConfig": {}}]});
            let (status, answer) = match (head.split(' ').next(), head.contains(name)) {
                // The first look fails: it is tried again.
                _ if number == 0 => ("503 Service Unavailable", json!({"message": "starting"})),
                (Some("GET"), true) => ("200 OK", object),
                (Some("PATCH"), true) => {
                    kept.lock().expect("nobody panics with it").push(String::from_utf8_lossy(&body).into_owned());
                    ("200 OK", object)
                }
                _ => ("404 Not Found", json!({"message": "no such object"})),
            };
            let answer = answer.to_string();
            let length = answer.len();
            write!(
                reader.get_mut(),
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
            )
            .ok();
        }
    });
    (address, patches)
}

/// A review of a pod that is made.
fn review() -> String {
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop", "operation": "CREATE",
        "object": {"kind": "Pod", "apiVersion": "v1", "metadata": {"generateName": "web-"},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}, "dryRun": true}})
    .to_string()
}

/// `curl`, as the API server's client: status and body.
fn ask(curl: &Path, at: SocketAddr, authority: &Path, path: &str, more: &[&str]) -> (String, String) {
    let kind = more.iter().find(|word| word.starts_with("content-type:")).unwrap_or(&"content-type: application/json");
    let done = Command::new(curl)
        .args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "-H", kind, "--cacert"])
        .arg(authority)
        .args(["--connect-to", &format!("::{at}")])
        .args(more)
        .arg(format!("https://injector.mesh.svc{path}"))
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", ""));
    (format!("{status}{}", String::from_utf8_lossy(&done.stderr)), body.to_owned())
}

#[test]
fn the_webhook_makes_itself_believed_and_answers_within_bounds() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let (api, patches) = api_server("mesh-injector");
    let [listen, probes] = [(); 2].map(|()| port::free());
    let mut command = Command::new(program());
    command.args(["injector", "--self-signed", "injector.mesh", "--webhook-config", "mesh-injector"]);
    command.args(["--listen", &listen.to_string(), "--probes", &probes.to_string()]);
    let mut injector = Process::start(command.env("PILLION_KUBERNETES", format!("http://{api}")));
    let ready = || {
        let stream = TcpStream::connect(probes).ok()?;
        let mut client = Client::over(stream);
        client.try_send("GET /readyz HTTP/1.0\r\n\r\n").ok()?;
        client.try_receive("GET").ok().filter(|response| response.status == 200).map(drop)
    };
    wait::until("its authority is published", SOON, ready);
    let written = patches.lock().expect("nobody panics with it").clone();
    assert_eq!(written.len(), 2, "both configurations: {written:?}");
    let patch: Value = serde_json::from_str(&written[0]).expect("a JSON Patch");
    assert_eq!((&patch[0]["op"], &patch[0]["value"]), (&json!("test"), &json!("7")));
    let dir = TempDir::new();
    let bundle = patch[1]["value"].as_str().expect("a bundle");
    let decode = format!("import base64,sys;sys.stdout.write(base64.b64decode('{bundle}').decode())");
    let python = some_or_return!(need::program("python3", "python3"));
    let pem = Command::new(python).args(["-c", &decode]).output().expect("Python runs").stdout;
    let authority = dir.write("ca.pem", pem);

    let file = format!("@{}", dir.write("review.json", review()).display());
    let (status, body) = ask(&curl, listen, &authority, "/mutate", &["--data-binary", &file]);
    assert_eq!(status, "200", "{}", injector.stderr());
    let answer: Value = serde_json::from_str(&body).expect("an AdmissionReview");
    assert_eq!((&answer["response"]["uid"], &answer["response"]["patchType"]), (&json!("u-1"), &json!("JSONPatch")));

    let huge = format!("@{}", dir.write("huge", vec![b' '; 9 << 20]).display());
    assert_eq!(ask(&curl, listen, &authority, "/mutate", &["--data-binary", &huge]).0.get(..3), Some("413"));
    let slow = format!("@{}", dir.write("slow", vec![b' '; 200_000]).display());
    let slow = ask(&curl, listen, &authority, "/mutate", &["--limit-rate", "2k", "--data-binary", &slow]);
    assert_eq!(slow.0.get(..3), Some("408"), "{slow:?}");
    assert_eq!(ask(&curl, listen, &authority, "/mutate", &["--data", "{}"]).0, "400");
    assert_eq!(ask(&curl, listen, &authority, "/mutate", &["-H", "content-type: text/plain", "--data", "x"]).0, "415");
    assert_eq!(ask(&curl, listen, &authority, "/else", &["--data", "x"]).0, "404");
    assert_eq!(ask(&curl, listen, &authority, "/mutate", &[]).0, "405");
    // Not TLS at all, and nothing: neither holds it up.
    let mut plain = TcpStream::connect(listen).expect("it listens");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is there");
    let _silent = TcpStream::connect(listen).expect("it listens");
    assert_eq!(ask(&curl, listen, &authority, "/validate", &["--data-binary", &file]).0, "200");
    let metrics = client::get(probes, "/metrics").text();
    for line in [
        "pillion_injector_reviews_total{webhook=\"mutate\",outcome=\"injected\"} 1",
        "pillion_injector_turned_away_total{reason=\"too_large\"} 1",
        "pillion_injector_turned_away_total{reason=\"body_timeout\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    injector.signal(Signal::TERM);
    assert_eq!(injector.wait(SOON).code(), Some(0), "{}", injector.stderr());
}

#[test]
fn api_servers_would_take_what_was_injected_and_the_chart() {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/app/tests/inject/expected");
    let files = fs::read_dir(expected).expect("the cases are there").map(|entry| entry.expect("an entry").path());
    let files: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "json"))
        .map(|path| path.display().to_string())
        .collect();
    let rights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/kubernetes/discovery-rbac.yaml");
    let files: Vec<String> = files.into_iter().chain([rights.display().to_string()]).collect();
    let mut arguments = vec!["1.29,1.30,1.31,1.32,1.33,1.34"];
    arguments.extend(files.iter().map(String::as_str));
    let done = some_or_return!(python::run("kubernetes_schemas", &arguments));
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    let judged: usize = text.trim().parse().expect("a count");
    assert!(judged >= 6 * 60, "{judged}");

    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/chart").display().to_string();
    let program = program().display().to_string();
    let done = some_or_return!(python::run("chart_schemas", &["1.29,1.30,1.31,1.32,1.33,1.34", &chart, &program]));
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
}
