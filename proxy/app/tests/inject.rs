//! Injection over manifests as people write them: `inject/cases/`, each with the text that comes out (`inject/expected/`) and
//! what is said about it. `PILLION_EXPECTED=write cargo test -p pillion --test inject` writes them anew, to be read before
//! they are committed.
//!
//! Whether API servers of several versions would take the outcome is asked in the end-to-end tests, by their schemas.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its cases has failed")]

use pillion::inject::{
    arguments::{INJECT, read},
    command::run,
    settings::KEYS,
    value::Value,
    workload::template,
    yaml,
};
use pillion_config::model::{Direction, NotHttp};
use pillion_core::downstream::detect::{Among, Names, Plan};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject").join(name)
}

/// Each case: its file and the flags in its first line, or beside it.
fn cases() -> Vec<(PathBuf, Vec<String>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "json"))
        .collect();
    files.sort();
    let flags = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let first = text.lines().next().and_then(|line| line.strip_prefix("# inject:")).map(str::to_owned);
        let beside = || fs::read_to_string(file.with_extension("flags")).unwrap_or_default();
        first.unwrap_or_else(beside).split_whitespace().map(str::to_owned).collect()
    };
    files.into_iter().map(|file| (flags(&file), file)).map(|(flags, file)| (file, flags)).collect()
}

/// `pillion inject`, and what it says.
fn inject(arguments: &[String], file: &Path) -> Result<(String, String), Vec<String>> {
    let words = arguments.iter().cloned().chain([file.display().to_string()]);
    let request = read(&INJECT, &mut lexopt::Parser::from_args(words)).unwrap().into_request();
    let (mut out, mut said) = (Vec::new(), String::new());
    let name = file.display().to_string();
    run(&request, &mut out, &mut |words| {
        said.push_str(&words.replace(&name, &file.file_name().unwrap().to_string_lossy()));
        said.push('\n');
    })?;
    Ok((String::from_utf8(out).unwrap(), said))
}

fn meaning(text: &str) -> Vec<Value> {
    let json = serde_json::Deserializer::from_str(text).into_iter::<Value>().collect::<Result<Vec<_>, _>>();
    if let Ok(values) = json {
        return values.into_iter().map(without_empties).collect();
    }
    yaml::read(text).unwrap().into_iter().map(|node| without_empties(node.value)).collect()
}

/// A list that is empty and a list that is not there mean the same to an API server.
fn without_empties(value: Value) -> Value {
    match value {
        Value::Map(mut map) => {
            map.0 = map.0.into_iter().map(|(key, value)| (key, without_empties(value))).collect();
            map.0.retain(|(_, value)| !value.is_empty());
            Value::Map(map)
        }
        Value::List(list) => Value::List(list.into_iter().map(without_empties).collect()),
        other => other,
    }
}

/// A text on disk for another run.
fn kept(text: &str, file: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inject");
    fs::create_dir_all(&folder).unwrap();
    let path =
        folder.join(format!("{:?}-{}", std::thread::current().id(), file.file_name().unwrap().to_string_lossy()));
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_comes_out_is_what_was_read_and_approved() {
    let mut different = Vec::new();
    for (file, flags) in cases() {
        let (text, said) = inject(&flags, &file).unwrap_or_else(|errors| panic!("{}: {errors:#?}", file.display()));
        let expected = folder("expected").join(file.file_name().unwrap());
        let words = expected.with_extension("said");
        if std::env::var("PILLION_EXPECTED").as_deref() == Ok("write") {
            fs::create_dir_all(folder("expected")).unwrap();
            fs::write(&expected, &text).unwrap();
            fs::write(&words, &said).unwrap();
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        if read(&expected) != text || read(&words) != said {
            different.push(format!("{}:\n{text}\n{said}", file.display()));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

/// What was injected as a configuration is what the proxy takes, as the kubelet hands it over.
#[test]
fn each_generated_configuration_passes_the_proxys_own_check() {
    let mut checked = 0;
    for (file, flags) in cases() {
        let (text, _) = inject(&flags, &file).unwrap();
        for pod in meaning(&text).iter().flat_map(pods) {
            let spec = pod.get("spec").unwrap();
            let containers = spec.list("initContainers").iter().chain(spec.list("containers"));
            let variables = containers.flat_map(|container| container.list("env").iter());
            for variable in variables.filter(|variable| variable.str("name") == Some("PILLION_CONFIG")) {
                let configuration = variable.str("value").unwrap().replace("$$", "$");
                let none = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
                let parsed = pillion_config::parse(&pillion_config::SourceName::new("env"), &configuration, &none);
                let loaded = parsed.unwrap_or_else(|errors| panic!("{}: {errors}\n{configuration}", file.display()));
                // Whoever chose one family knows it.
                let chosen = |text: &str| text.contains("does not take every connection");
                let warnings: Vec<_> = loaded.warnings.iter().filter(|warning| !chosen(&warning.message)).collect();
                assert!(warnings.is_empty(), "{}: {warnings:?}\n{configuration}", file.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 50, "{checked}");
}

/// An opaque port is none whose connections are looked at; the others are, and what is no HTTP there passes no filter by.
#[test]
fn opaque_ports_are_not_looked_at() {
    let file = folder("cases").join("filters-that-judge.yaml");
    let (text, _) = inject(&[], &file).unwrap();
    let pod = &meaning(&text)[0];
    let proxy = &pod.get("spec").unwrap().list("initContainers")[1];
    let configuration = proxy.list("env").iter().find(|variable| variable.str("name") == Some("PILLION_CONFIG"));
    let configuration = configuration.unwrap().str("value").unwrap().replace("$$", "$");
    let none = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = pillion_config::parse(&pillion_config::SourceName::new("env"), &configuration, &none).unwrap();
    for listener in &loaded.config.listeners {
        let plan = |port| Plan::of(&listener.protocol, &listener.http, port, Names::DoNot, None);
        assert_eq!((plan(5432), plan(3306)), (Plan::Unread, Plan::Unread), "{}", listener.name);
        assert!(matches!(plan(8080), Plan::Read(Among::Any, _)), "{}", listener.name);
        let tcp = listener.protocol.tcp().unwrap();
        let refuses = listener.direction == Direction::Inbound;
        assert_eq!(tcp.not_http == NotHttp::Refuse, refuses, "{}", listener.name);
    }
}

#[test]
fn there_are_enough_of_them() {
    assert!(cases().len() >= 60, "{}", cases().len());
}

#[test]
fn twice_is_once() {
    for (file, flags) in cases() {
        let (once, _) = inject(&flags, &file).unwrap();
        let (twice, _) = inject(&flags, &kept(&once, &file)).unwrap();
        assert_eq!(once, twice, "{}", file.display());
    }
}

#[test]
fn taking_it_out_restores_the_meaning() {
    for (file, flags) in cases() {
        let (with, _) = inject(&flags, &file).unwrap();
        let (without, _) = inject(&["--uninject".to_owned()], &kept(&with, &file)).unwrap();
        let before = fs::read_to_string(&file).unwrap();
        assert_eq!(meaning(&before), meaning(&without), "{}", file.display());
    }
}

/// Nobody looks at annotations again: what is written there afterwards is told of, and how to have it.
#[test]
fn annotations_that_changed_behind_the_injection_are_named_with_the_remedy() {
    let plain = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n    team: a\n    pillion.io/log-level: info\n\
                 spec: {containers: [{name: app, image: app}]}\n";
    let again = |text: &str| inject(&[], &kept(text, Path::new("changed-annotations.yaml"))).unwrap();
    let (with, _) = again(plain);
    let (same, said) = again(&with.replace("team: a", "team: b"));
    assert!(
        same.contains("team: b") && said.contains("already has Pillion") && !said.contains("does nothing"),
        "{said}"
    );
    for (from, to, names) in [
        ("log-level: info", "log-level: debug", "; pillion.io/log-level is not"),
        ("    pillion.io/log-level: info\n", "", "; pillion.io/log-level is not"),
        ("team: a", "pillion.io/drain-delay: 1s", "; pillion.io/drain-delay is not"),
        ("info\n", "debug\n    pillion.io/drain-delay: 1s\n", "; pillion.io/log-level, pillion.io/drain-delay is not"),
    ] {
        let changed = with.replacen(from, to, 1);
        assert_ne!(changed, with, "{from}");
        let (left, said) = again(&changed);
        assert!(
            left == changed && said.contains(names) && said.contains("--uninject, then inject it again"),
            "{to}: {said}"
        );
        let (out, _) =
            inject(&["--uninject".to_owned()], &kept(&changed, Path::new("changed-annotations.yaml"))).unwrap();
        let (_, said) = again(&again(&out).0);
        assert!(said.contains("already has Pillion") && !said.contains("does nothing"), "{to}: {said}");
    }
}

/// `kubectl get -o yaml`, the containers taken out by hand and the annotation forgotten: such a pod has no sidecar.
#[test]
fn a_status_without_a_sidecar_is_none() {
    let written = "{apiVersion: v1, kind: Pod, metadata: {name: copied, annotations: {pillion.io/status: '{\"version\":\"0.1.0\"}'}}, \
                   spec: {containers: [{name: app, image: app}]}}\n";
    let (with, said) = inject(&[], &kept(written, Path::new("status-alone.yaml"))).unwrap();
    assert!(with.contains("pillion-proxy"), "{said}\n{with}");
    let (_, said) = inject(&[], &kept(&with, Path::new("status-alone.yaml"))).unwrap();
    assert!(said.contains("already has Pillion"), "{said}");
}

/// Only what the annotation says we put there goes.
#[test]
fn taking_it_out_takes_nothing_of_others() {
    let uninject = |name: &str, text: &str| inject(&["--uninject".to_owned()], &kept(text, Path::new(name)));
    let pod = |annotations: &str, spec: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p{annotations}}}\nspec: {spec}\n")
    };
    // Never injected, with a container that happens to have such a name: alone, and beside others.
    for spec in [
        "{containers: [{name: pillion-proxy, image: mine}]}",
        "{initContainers: [{name: pillion-init, image: mine}], containers: [{name: app, image: app}]}",
    ] {
        let text = pod("", spec);
        let (out, said) = uninject("stranger.yaml", &text).unwrap();
        assert_eq!(out, text);
        assert!(
            said.contains("it has no Pillion") && said.contains("stays: no annotation pillion.io/status"),
            "{said}"
        );
    }
    // Injected, with containers and a volume of such names elsewhere, which were put in afterwards.
    let status = |text: &str| format!(", annotations: {{pillion.io/status: '{text}'}}");
    let native = status(r#"{"version":"0.1.0","mode":"native","capture":"node"}"#);
    let spec = "{initContainers: [{name: pillion-proxy, image: ours}, {name: pillion-init, image: mine}], containers: \
                [{name: pillion-proxy, image: mine}], volumes: [{name: pillion-identity}, {name: pillion-cache}]}";
    let (out, said) = uninject("elsewhere.yaml", &pod(&native, spec)).unwrap();
    assert!(said.contains("taken out"), "{said}");
    let left = &meaning(&out)[0];
    let names = |list: &str| {
        let all = left.get("spec").unwrap().list(list).iter();
        all.map(|one| one.str("name").unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        ["initContainers", "containers", "volumes"].map(names),
        ["pillion-init", "pillion-proxy", "pillion-cache"]
    );
    // What nobody can know, and what would leave no pod, is refused at its place.
    let beside = status(r#"{"version":"0.1.0","mode":"container","capture":"node"}"#);
    for (annotations, words) in [
        (status("{}"), "metadata.annotations[\"pillion.io/status\"]: it says neither mode nor capture"),
        (beside, "spec.containers: nothing but the proxy is in it"),
    ] {
        let text = pod(&annotations, "{containers: [{name: pillion-proxy, image: ours}]}");
        let errors = uninject("unknown.yaml", &text).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains(words), "{errors:?}");
    }
}

/// API servers before 1.32 know no resources of a pod, so this is none of the cases.
#[test]
fn resources_of_the_pod_as_a_whole_have_room_for_the_proxy() {
    let before = "apiVersion: v1
kind: Pod
metadata:
  name: small
  namespace: shop
spec:
  resources:   # of all together
    requests:
      cpu: 50m
      memory: 64Mi
    limits:
      cpu: 60m   # little
      memory: 64Mi
  containers:
    - name: app
      image: app
      resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 60m}}
";
    for mode in ["native", "container"] {
        let flags = ["--mode".to_owned(), mode.to_owned()];
        let (with, said) = inject(&flags, &kept(before, Path::new("whole.yaml"))).unwrap();
        let spec = meaning(&with)[0].get("spec").unwrap().clone();
        let amount = |of: &Value, kind: &str, resource: &str| {
            let written = of.at(&["resources", kind, resource])?;
            Some(written.as_str().unwrap().parse::<pillion::inject::quantity::Quantity>().unwrap().amount())
        };
        // What an API server looks at (ValidatePodResources): the sum of what runs beside one another, and each one's limit.
        for resource in ["cpu", "memory"] {
            let lists = ["containers", "initContainers"].map(|list| spec.list(list).to_vec()).concat();
            let (init, all): (Vec<_>, Vec<_>) = lists.iter().partition(|one| one.str("name") == Some("pillion-init"));
            let sum: f64 = all.iter().filter_map(|one| amount(one, "requests", resource)).sum();
            let (request, limit) = (amount(&spec, "requests", resource), amount(&spec, "limits", resource));
            assert!(sum <= request.unwrap() + 1e-9, "{resource}\n{with}");
            assert!(all.iter().all(|one| amount(one, "limits", resource) <= limit), "{resource}\n{with}");
            assert!(init.len() == 1 && amount(init[0], "limits", resource).is_none(), "{resource}\n{with}");
        }
        assert!(with.contains("cpu: 70m   # little") && with.contains("memory: 192Mi"), "{said}\n{with}");
        let (without, said) = inject(&["--uninject".to_owned()], &kept(&with, Path::new("whole.yaml"))).unwrap();
        assert_eq!(without, before, "{said}");
    }
    let wrong = before.replace("cpu: 60m   # little", "cpu: sixty");
    let errors = inject(&[], &kept(&wrong, Path::new("whole.yaml"))).unwrap_err();
    assert!(
        errors.len() == 1 && errors[0].contains("12:7: Pod/shop/small: spec.resources.limits.cpu: \"sixty\""),
        "{errors:?}"
    );
}

/// What is wrong with flags is told of them, once and before anything is read, and not at each pod's place.
#[test]
fn flags_that_no_pod_could_have_are_refused() {
    for (flags, words) in [
        (&["--filters", "[{name: nobody}]"][..], "--filters: the proxy would refuse this: "),
        (&["--filters", "x: y"], "--filters: write a list of filters"),
        (&["--identity", "csi", "--upstreams", "a.b:1=c"], "--upstreams: the proxy would refuse this: "),
        (&["--inbound-tls", "strict"], "--inbound-tls: mutual TLS needs certificates"),
        (
            &["--capture", "node", "--skip-outbound-ports", "9000"],
            "--skip-outbound-ports: with capture node the node's agent leaves them out, for all pods of the node: \
             nodeAgent.excludePorts",
        ),
        (
            &["--capture", "node", "--skip-outbound-cidrs", "10.0.0.0/8"],
            "--skip-outbound-cidrs: with capture node the node's agent leaves them out, for all pods of the node: \
             nodeAgent.excludeCidrs",
        ),
        (
            &["--skip-inbound-ports", "15000-15002"],
            "--skip-inbound-ports: the proxy's own ports (15000, 15001) are led",
        ),
        (
            &["--capture", "node", "--skip-inbound-ports", "15098"],
            "--skip-inbound-ports: the proxy's own ports (15098) are led",
        ),
    ] {
        let flags: Vec<String> = flags.iter().map(|word| (*word).to_owned()).collect();
        let errors = inject(&flags, &folder("cases/pod-bare.yaml")).unwrap_err();
        assert!(errors.iter().all(|error| error.starts_with(words)), "{errors:?}");
    }
}

/// What a pod's choice does not go with may be another one's, who chose for all pods: the pod can take it back for itself.
#[test]
fn what_was_chosen_for_all_pods_does_not_keep_one_from_its_own_choice() {
    let pod = |annotations: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations: {{{annotations}}}\n\
             spec: {{containers: [{{name: app, image: app}}]}}\n"
        )
    };
    for (name, chosen, own) in [
        ("skip-outbound-ports", "9000", "capture: node"),
        ("skip-outbound-cidrs", "10.0.0.0/8", "capture: node"),
        ("skip-inbound-ports", "9000", "config: own, pillion.io/capture: none"),
    ] {
        let flags = [format!("--{name}"), chosen.to_owned()];
        let own = format!("pillion.io/{own}");
        let errors = inject(&flags, &kept(&pod(&own), Path::new("own-choice.yaml"))).unwrap_err();
        let back = format!("pillion.io/{name}: \"\"");
        let (told, remedy) =
            (format!("metadata.annotations: {name}: "), format!("; {back} takes it back for this pod"));
        assert!(errors.len() == 1 && errors[0].contains(&told) && errors[0].ends_with(&remedy), "{errors:?}");
        let taken_back = pod(&format!("{own}, {back}"));
        let (text, said) = inject(&flags, &kept(&taken_back, Path::new("own-choice.yaml"))).unwrap();
        assert!(text.contains("pillion-proxy"), "{said}\n{text}");
    }
    // What others need and this pod has no use for is in nobody's way.
    let flags = ["--init-image".to_owned(), "rules:1".to_owned()];
    for own in ["pillion.io/capture: node", "pillion.io/capture: none, pillion.io/inbound-ports: 15080:8080"] {
        let (text, said) = inject(&flags, &kept(&pod(own), Path::new("own-choice.yaml"))).unwrap();
        assert!(text.contains("pillion-proxy") && !text.contains("rules:1"), "{said}\n{text}");
    }
    // What no empty annotation takes back says nothing of one.
    let flags =
        ["--image".to_owned(), format!("p@sha256:{}", "0".repeat(64)), "--capture".to_owned(), "node".to_owned()];
    let errors = inject(&flags, &kept(&pod("pillion.io/capture: init"), Path::new("own-choice.yaml"))).unwrap_err();
    assert!(errors.len() == 1 && errors[0].ends_with("or choose capture node or none"), "{errors:?}");
}

/// Links are followed, as `kubectl apply -f` follows them, but not for ever.
#[test]
fn links_that_lead_back_are_told() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inject-links");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(folder.join("base/app")).unwrap();
    fs::write(folder.join("base/app/pod.yaml"), fs::read(self::folder("cases/pod-bare.yaml")).unwrap()).unwrap();
    std::os::unix::fs::symlink("base", folder.join("again")).unwrap();
    let (out, _) = inject(&[], &folder).unwrap();
    assert_eq!(out.matches("kind: Pod\n").count(), 2, "twice is no loop: {out}");
    let refused = |link: &str, to: &str, words: &str| {
        let link = folder.join(link);
        std::os::unix::fs::symlink(to, &link).unwrap();
        let errors = inject(&[], &folder).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains(words), "{errors:?}");
        fs::remove_file(link).unwrap();
    };
    refused("base/app/up", "..", "app/up: a symbolic link leads back to");
    refused("base/one.yaml", "one.yaml", "one.yaml: symbolic links lead from it back to it");
}

/// Where both ways were splices, nothing is left of them in the text: at most what was moved is written in our style.
#[test]
fn taking_it_out_leaves_the_text_as_it_was_written() {
    let (mut same, mut anew) = (0, Vec::new());
    for (file, flags) in cases() {
        let (with, there) = inject(&flags, &file).unwrap();
        let (without, back) = inject(&["--uninject".to_owned()], &kept(&with, &file)).unwrap();
        let before = fs::read_to_string(&file).unwrap();
        if there.contains("written anew") || before.starts_with('{') {
            continue;
        }
        if back.contains("written anew") {
            anew.push(file.file_name().unwrap().to_string_lossy().into_owned());
        }
        for comment in before.lines().filter_map(|line| Some(&line[line.find(" # ")?..])) {
            assert!(without.contains(comment), "{}: lost {comment:?}", file.display());
        }
        same += usize::from(before == without);
    }
    assert!(anew.is_empty(), "{anew:?}");
    assert!(same >= 45, "{same}");
}

/// A probe that goes on to point at a proxy that is gone kills the application.
#[test]
fn what_cannot_be_given_back_is_refused() {
    let file = folder("cases/tcp-probe.yaml");
    let (with, _) = inject(&[], &file).unwrap();
    let renamed = with.replace("- name: redis\n", "- name: renamed\n");
    let without: String = {
        // By hand, as somebody does who finds a container that he does not know.
        let value = yaml::read(&with).unwrap().remove(0).value;
        let mut pod = value.clone();
        let spec = pod.at_mut(&["spec", "template", "spec"]).unwrap();
        spec.list_at("initContainers").unwrap().retain(|one| one.str("name") != Some("pillion-proxy"));
        pod.to_json()
    };
    // By another tool, which wrote the container anew.
    let forgotten: String = {
        let mut pod = yaml::read(&with).unwrap().remove(0).value;
        let spec = pod.at_mut(&["spec", "template", "spec"]).unwrap();
        let env = spec.list_at("initContainers").unwrap()[1].list_at("env").unwrap();
        env.retain(|one| one.str("name") != Some("PILLION_APP_PROBES"));
        pod.to_json()
    };
    assert_ne!(renamed, with);
    for (text, words) in [
        (renamed, "the container renamed is asked"),
        (without, "pillion-proxy, which knew, has been taken out"),
        (forgotten, "pillion-proxy has no variable PILLION_APP_PROBES, in which it would stand"),
    ] {
        let errors = inject(&["--uninject".to_owned()], &kept(&text, &file)).unwrap_err();
        assert!(
            errors.len() == 1 && errors[0].contains(words) && errors[0].contains("Probe: the container"),
            "{errors:?}"
        );
    }
}

/// A manifest that was injected got one more container since.
#[test]
fn what_was_added_behind_an_injection_has_its_probes_moved() {
    let file = folder("cases/pod-json.json");
    let (once, _) = inject(&[], &file).unwrap();
    let mut pod: Value = serde_json::from_str(&once).unwrap();
    let late = r#"{"name":"late","image":"l:1","readinessProbe":{"tcpSocket":{"port":9042}}}"#;
    pod.at_mut(&["spec"]).unwrap().list_at("containers").unwrap().push(serde_json::from_str(late).unwrap());
    let added = pod.to_json();
    let (twice, said) = inject(&[], &kept(&added, &file)).unwrap();
    assert!(said.contains(": injected"), "{said}");
    let moved = "\"/app-probes/late/readiness\":{\"port\":9042,\"address\":\"pod\"".replace('"', "\\\"");
    assert!(twice.contains(&moved) && twice.contains("/app-probes/late/readiness\""), "{twice}");
    let (again, said) = inject(&[], &kept(&twice, &file)).unwrap();
    assert_eq!(again, twice, "{said}");
    let (without, _) = inject(&["--uninject".to_owned()], &kept(&twice, &file)).unwrap();
    let late = serde_json::from_str::<Value>(late).unwrap();
    assert_eq!(meaning(&without)[0].get("spec").unwrap().list("containers").last(), Some(&late));
}

/// With `capture node` the ports that were left out stand in the proxy's configuration, and in no container that installs rules.
#[test]
fn what_was_added_behind_an_injection_is_asked_where_it_was_left_alone() {
    let file = folder("cases/node-skip-ports.yaml");
    let flags = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (once, _) = inject(&flags("--capture node --skip-inbound-ports 9100"), &file).unwrap();
    let late = "    - {name: late, image: 'l:1', readinessProbe: {tcpSocket: {port: 9100}}, livenessProbe: {tcpSocket: {port: 9042}}}\n";
    let added = once.replacen("    - name: app\n", &format!("{late}    - name: app\n"), 1);
    let (twice, said) = inject(&[], &kept(&added, &file)).unwrap();
    assert!(said.contains(": injected"), "{said}");
    assert!(twice.contains("/app-probes/late/liveness") && !twice.contains("/app-probes/late/readiness"), "{twice}");
}

/// The program itself, as people call it.
#[test]
fn standard_input_folders_and_differences() {
    let call = |arguments: &[&str], input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        let command = command.arg("inject").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    };
    let [deployment, namespace] =
        ["deployment-plain.yaml", "disabled-by-label.yaml"].map(|name| folder("cases").join(name));
    let before = fs::read_to_string(&deployment).unwrap();
    let (with, _) = inject(&[], &deployment).unwrap();
    for arguments in [&[][..], &["-"], &["-f", "-"]] {
        let (code, out, said) = call(arguments, &before);
        assert_eq!((code, &out), (Some(0), &with), "{said}");
        assert!(said.contains("<stdin>:") && said.contains("injected"), "{said}");
    }
    // A folder's files in their order, each a document of one stream; what is no manifest is left where it is.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inject-folder");
    fs::remove_dir_all(&dir).ok();
    fs::create_dir_all(dir.join("deeper")).unwrap();
    fs::copy(&deployment, dir.join("b.yaml")).unwrap();
    fs::copy(&namespace, dir.join("deeper/c.yml")).unwrap();
    fs::copy(folder("cases/pod-json.json"), dir.join("a.json")).unwrap();
    fs::write(dir.join("README.md"), "kind: Pod").unwrap();
    let (code, out, said) = call(&["-f", dir.to_str().unwrap()], "");
    assert_eq!(code, Some(0), "{said}");
    let kinds: Vec<_> =
        yaml::read(&out).unwrap().iter().map(|node| node.value.str("kind").unwrap().to_owned()).collect();
    assert_eq!(kinds, ["Pod", "Deployment", "Pod"], "{out}");
    // A difference says what would change and changes nothing; of what stays it says nothing.
    let (code, out, _) = call(&["--diff", deployment.to_str().unwrap()], "");
    let name = deployment.display();
    assert_eq!(code, Some(0));
    assert!(out.starts_with(&format!("--- {name}\n+++ {name} (with Pillion)\n@@ ")), "{out}");
    let lines = |sign: char| out.lines().skip(2).filter_map(move |line| line.strip_prefix(sign)).collect::<Vec<_>>();
    let own: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = with.lines().collect();
    assert!(
        lines('-').iter().all(|line| own.contains(line)) && lines('+').iter().all(|line| new.contains(line)),
        "{out}"
    );
    assert_eq!(lines('+').len() - lines('-').len(), new.len() - own.len(), "{out}");
    assert_eq!(call(&["--diff", namespace.to_str().unwrap()], "").1, "");
    // What cannot be read is told, and nothing comes out.
    let (code, out, said) = call(&["-f", "/nowhere.yaml", deployment.to_str().unwrap()], "");
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(said.contains("/nowhere.yaml: cannot be read"), "{said}");
}

#[test]
fn comments_stay() {
    for (file, flags) in cases().into_iter().filter(|(file, _)| file.extension().is_some_and(|end| end == "yaml")) {
        let (text, said) = inject(&flags, &file).unwrap();
        // What must be written anew says so.
        if said.contains("written anew") {
            continue;
        }
        let before = fs::read_to_string(&file).unwrap();
        for comment in before.lines().filter_map(|line| Some(&line[line.find(" # ")?..])) {
            assert!(text.contains(comment), "{}: lost {comment:?}", file.display());
        }
    }
}

/// The level of the Pod Security Standards that a pod would pass, as far as its fields say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

fn level(pod: &Value) -> Level {
    let spec = pod.get("spec").unwrap();
    let is_true = |value: Option<&Value>| value.and_then(Value::as_bool) == Some(true);
    let containers = || spec.list("initContainers").iter().chain(spec.list("containers"));
    let words = |container: &Value, path: &[&str]| -> Vec<String> {
        let found = container.at(path).map_or(&[][..], Value::elements);
        found.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    const BASELINE: [&str; 13] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let baseline = !["hostNetwork", "hostPID", "hostIPC"].iter().any(|field| is_true(spec.get(field)))
        && spec.list("volumes").iter().all(|volume| volume.get("hostPath").is_none())
        && containers().all(|container| {
            !is_true(container.at(&["securityContext", "privileged"]))
                && container.list("ports").iter().all(|port| port.get("hostPort").is_none())
                && words(container, &["securityContext", "capabilities", "add"])
                    .iter()
                    .all(|capability| BASELINE.contains(&capability.as_str()))
        });
    if !baseline {
        return Level::Privileged;
    }
    let either =
        |container: &Value, path: &[&str]| -> Option<Value> { container.at(path).or_else(|| spec.at(path)).cloned() };
    let restricted = containers().all(|container| {
        let seccomp = either(container, &["securityContext", "seccompProfile", "type"]);
        either(container, &["securityContext", "runAsNonRoot"]) == Some(Value::Bool(true))
            && either(container, &["securityContext", "runAsUser"]) != Some(Value::Int(0))
            && container.at(&["securityContext", "allowPrivilegeEscalation"]) == Some(&Value::Bool(false))
            && matches!(seccomp.as_ref().and_then(Value::as_str), Some("RuntimeDefault" | "Localhost"))
            && words(container, &["securityContext", "capabilities", "drop"]).contains(&"ALL".to_owned())
            && words(container, &["securityContext", "capabilities", "add"]).iter().all(|add| add == "NET_BIND_SERVICE")
    }) && spec.list("volumes").iter().all(|volume| {
        const ALLOWED: [&str; 8] = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        ALLOWED.iter().any(|kind| volume.get(kind).is_some())
    });
    if restricted { Level::Restricted } else { Level::Baseline }
}

/// The pods of an object.
fn pods(object: &Value) -> Vec<Value> {
    let items = object.list("items").iter().flat_map(pods);
    let own = object.str("kind").and_then(template).and_then(|path| object.at(path).cloned());
    items.chain(own).collect()
}

/// A case without `skip-outbound-ports` and `skip-outbound-cidrs`, which no pod has that its node's agent captures.
fn without_what_an_agent_leaves_out(mut flags: Vec<String>, file: &Path) -> (Vec<String>, PathBuf) {
    while let Some(at) = flags.iter().position(|flag| flag.starts_with("--skip-outbound-")) {
        flags.drain(at..at + 2);
    }
    let before = fs::read_to_string(file).unwrap();
    let text: String =
        before.split_inclusive('\n').filter(|line| !line.contains("pillion.io/skip-outbound-")).collect();
    (flags, if text == before { file.to_owned() } else { kept(&text, file) })
}

#[test]
fn without_rules_of_its_own_an_injected_pod_passes_what_it_passed_before() {
    let mut restricted = 0;
    for (file, flags) in cases() {
        let before = meaning(&fs::read_to_string(&file).unwrap());
        for capture in ["node", "init"] {
            let (mut flags, mut file) = (flags.clone(), file.clone());
            let chosen = flags.iter().any(|flag| flag == "--capture");
            if !chosen {
                flags.extend(["--capture".to_owned(), capture.to_owned()]);
                if capture == "node" {
                    (flags, file) = without_what_an_agent_leaves_out(flags, &file);
                }
            }
            let (text, _) = inject(&flags, &file).unwrap_or_else(|errors| panic!("{}: {errors:#?}", file.display()));
            for (before, after) in before.iter().flat_map(pods).zip(meaning(&text).iter().flat_map(pods)) {
                let rules = after
                    .get("spec")
                    .unwrap()
                    .list("initContainers")
                    .iter()
                    .any(|one| one.str("name") == Some("pillion-init"));
                let expected = if rules { Level::Privileged } else { level(&before) };
                assert_eq!(level(&after), expected, "{} {flags:?}\n{text}", file.display());
                restricted += usize::from(level(&after) == Level::Restricted);
            }
        }
    }
    assert!(restricted >= 3, "{restricted}");
}

#[test]
fn the_charts_schema_knows_every_setting_and_no_other() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/chart/values.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let settings = schema.at(&["properties", "injector", "properties", "settings", "properties"]).unwrap();
    let known: Vec<&str> = settings.as_map().unwrap().0.iter().map(|(name, _)| name.as_str()).collect();
    // The chart has fields of its own for these.
    let others =
        KEYS.iter().map(|key| key.name).filter(|name| !["image", "init-image", "image-pull-policy"].contains(name));
    assert_eq!(known, others.collect::<Vec<_>>());
}

#[test]
fn mistakes_are_told_at_their_place_and_nothing_comes_out() {
    let folder = folder("refused");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end != "said")).collect();
    files.sort();
    assert!(files.len() >= 10);
    let mut different = Vec::new();
    for file in files {
        let errors = inject(&[], &file).expect_err(&file.display().to_string());
        let name = file.display().to_string();
        let told: String = errors.iter().map(|error| error.replace(&format!("{name}:"), "") + "\n").collect();
        let expected = file.with_extension("said");
        if std::env::var("PILLION_EXPECTED").as_deref() == Ok("write") {
            fs::write(&expected, &told).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != told {
            different.push(format!("{name}:\n{told}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
