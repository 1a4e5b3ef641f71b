use super::*;
use futures_util::future::join_all;
use pillion_config::model::{AllowedClusters, BodyBuffer, FailPolicy, Filter, Stands, WasmLimits, WasmSource};
use std::{cell::Cell, fs, path::PathBuf, time::Duration};
use tokio::sync::Notify;

/// A module that is another one for each number.
fn guest(number: u32) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{number}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 8)))"#
    );
    wat::parse_str(text).unwrap()
}

/// A filter whose module is another one for each number.
fn filter(number: u32) -> Filter {
    of(WasmSource::Inline(guest(number).into()))
}

/// A filter whose module is fetched, from somewhere else for each name.
fn far(name: &str, module: &[u8]) -> Filter {
    let url = format!("http://127.0.0.1/{name}");
    let sha256 = artefact::sha256(module);
    let (timeout, retry_for) = (Duration::from_secs(5), Duration::from_secs(5));
    let source = WasmSource::Url(WasmUrl { url, sha256, timeout, retry_for });
    Filter { name: Name(name.into()), ..of(source) }
}

fn of(source: WasmSource) -> Filter {
    let wasm = Wasm {
        source,
        vm_id: String::new(),
        root_id: String::new(),
        vm_configuration: Vec::new(),
        configuration: Vec::new(),
        environment: Vec::new(),
        host_environment: Vec::new(),
        allowed_clusters: AllowedClusters::All,
        allowed_capabilities: AllowedCapabilities::All,
        limits: WasmLimits {
            callback: Duration::from_secs(5),
            start: Duration::from_secs(5),
            memory: 1 << 20,
            calls: 1,
            call_response: 1,
            restarts: 1,
            log_lines: 1,
        },
        allow_on_headers_stop_iteration: false,
        node: Arc::default(),
    };
    Filter {
        name: Name("a".into()),
        route: None,
        kind: FilterKind::Wasm(Box::new(wasm)),
        fail: FailPolicy::Closed,
        body_buffer: BodyBuffer::both(1),
        stands: Stands::default(),
    }
}

async fn load(loader: &WasmLoader, number: u32) -> Arc<dyn Factory> {
    let filter = Arc::new(filter(number));
    loader.load(&filter, None).await.unwrap_or_else(|error| panic!("{error:?}"))
}

#[tokio::test]
async fn a_module_goes_with_the_last_filter_that_has_it() {
    let fetch: Fetch = Rc::new(|_, _| Box::pin(async { Err("nothing is fetched here".to_owned().into()) }));
    let loader = WasmLoader::new(Compiler::Here, fetch).with_directory(Directory::memory());
    let held = || held(&loader);
    let mut in_force = load(&loader, 0).await;
    let again = load(&loader, 0).await;
    assert_eq!(held(), 1, "filters of one module share it");
    drop(again);
    for number in 1..20 {
        // As at a reload: the new one is loaded while the old one still serves.
        in_force = load(&loader, number).await;
        assert_eq!(held(), 1, "the module of the filter before is gone");
    }
    assert!(loader.modules.borrow().len() <= 2, "nor do their keys stay");
    drop(in_force);
    assert_eq!(held(), 0);
}

/// A directory's place, taken away at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pillion-loader-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        Self(path)
    }

    fn open(&self) -> Directory {
        Directory::open(std::slice::from_ref(&self.0))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn held(loader: &WasmLoader) -> usize {
    loader.modules.borrow().values().filter(|module| module.strong_count() > 0).count()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not {what} in time");
}

#[tokio::test]
async fn what_is_there_waits_for_nothing_that_is_fetched_or_compiled() {
    let folder = Folder::new("beside");
    let nothing: Fetch = Rc::new(|_, _| Box::pin(async { Err("nothing is fetched here".to_owned().into()) }));
    let before = WasmLoader::new(Compiler::Here, nothing).with_directory(folder.open());
    load(&before, 0).await;

    let (go, come) = (folder.0.join("go"), Rc::new(Notify::new()));
    let script =
        format!("cat >/dev/null; while [ ! -e {} ]; do sleep 0.01; done; echo no module >&2; exit 3", go.display());
    let compiler = Compiler::Child {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        memory: artefact::MEMORY,
    };
    let awaited = Rc::clone(&come);
    let fetch: Fetch = Rc::new(move |_, _| {
        let awaited = Rc::clone(&awaited);
        Box::pin(async move {
            awaited.notified().await;
            Err(Fault { away: true, ..Fault::from("nobody is there".to_owned()) })
        })
    });
    let loader = WasmLoader::new(compiler, fetch).with_directory(folder.open());
    let filters = [Arc::new(far("far", b"far")), Arc::new(filter(1)), Arc::new(filter(0))];
    let loading = join_all(filters.iter().map(|filter| loader.load(filter, None)));
    let watching = async {
        until("loaded", || held(&loader) == 1).await;
        come.notify_one();
        fs::write(&go, "").unwrap();
    };
    let (loaded, ()) = tokio::join!(loading, watching);
    let words: Vec<_> =
        loaded.iter().map(|loaded| loaded.as_ref().map_err(|error| error.reason.as_str()).err()).collect();
    assert_eq!(words, [Some("nobody is there"), Some("no module"), None]);
}

/// Where no container bounds it: it would take whatever the machine has.
#[tokio::test]
async fn a_module_that_takes_more_memory_than_any_may_is_refused() {
    let compiler = Compiler::Child {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), "ulimit -v 1000000; cat >/dev/null; exec tail /dev/zero".into()],
        memory: 32 << 20,
    };
    let nothing: Fetch = Rc::new(|_, _| Box::pin(async { Err("nothing is fetched here".to_owned().into()) }));
    let loader = WasmLoader::new(compiler, nothing).with_directory(Directory::memory());
    let filter = Arc::new(Filter { name: Name("greedy".into()), ..filter(0) });
    let words = loader.load(&filter, None).await.map(drop).unwrap_err().to_string();
    for part in ["greedy", "more memory than any module's may", "MiB of 32 MiB", "build it optimised"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

/// A loader whose compiler says in `began` that it begins, ends with `go`, and makes of whatever it is given what `made` is made of.
fn slow(folder: &Folder, made: u32) -> WasmLoader {
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.0.join("made"), engine::compile(&guest(made)).unwrap()).unwrap();
    let script = format!(
        "cd {}; cat >/dev/null; echo $$ >>began; while [ ! -e go ]; do sleep 0.01; done; cat made",
        folder.0.display()
    );
    let compiler = Compiler::Child {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        memory: artefact::MEMORY,
    };
    let nothing: Fetch = Rc::new(|_, _| Box::pin(async { Err("nothing is fetched here".to_owned().into()) }));
    WasmLoader::new(compiler, nothing).with_directory(Directory::open(&[folder.0.join("cache")]))
}

impl Folder {
    /// The children that began to compile.
    fn began(&self) -> Vec<String> {
        fs::read_to_string(self.0.join("began")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// Loads until a child compiles, then gives up.
async fn give_up(loader: &WasmLoader, folder: &Folder, number: u32) {
    let filter = Arc::new(filter(number));
    tokio::select! {
        loaded = loader.load(&filter, None) => panic!("{loaded:?}"),
        () = until("begun", || !folder.began().is_empty()) => {}
    }
}

/// Another module waits for a child that it is compiled by, which is another one's as long as that is compiled.
#[tokio::test]
async fn a_module_that_no_configuration_names_any_more_is_not_compiled_on() {
    let folder = Folder::new("unwanted");
    let loader = slow(&folder, 2);
    give_up(&loader, &folder, 1).await;
    let corrected = async {
        until("compiling the other", || folder.began().len() == 2).await;
        fs::write(folder.0.join("go"), "").unwrap();
    };
    let begun = std::time::Instant::now();
    tokio::join!(load(&loader, 2), corrected);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(!PathBuf::from(format!("/proc/{}", folder.began()[0])).exists(), "its child is gone");
}

#[tokio::test]
async fn a_module_that_the_next_configuration_names_is_compiled_on() {
    let folder = Folder::new("named");
    let loader = slow(&folder, 1);
    give_up(&loader, &folder, 1).await;
    let go = async {
        // Longer than where nobody names it.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        fs::write(folder.0.join("go"), "").unwrap();
    };
    let filters = [Arc::new(filter(1)), Arc::new(filter(1))];
    let (loaded, ()) = tokio::join!(join_all(filters.iter().map(|filter| loader.load(filter, None))), go);
    assert!(loaded.iter().all(Result::is_ok), "{loaded:?}");
    assert_eq!(folder.began().len(), 1);
}

#[tokio::test]
async fn a_module_that_nobody_names_is_not_compiled_on_where_nothing_else_is_loaded() {
    let folder = Folder::new("nobody");
    let loader = slow(&folder, 1);
    give_up(&loader, &folder, 1).await;
    let child = PathBuf::from(format!("/proc/{}", folder.began()[0]));
    until("ended", || !child.exists()).await;
}

/// A guest that takes one configuration alone.
fn once() -> Vec<u8> {
    let text = r#"(module (memory (export "memory") 1) (global $set (mut i32) (i32.const 0))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 8))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (if (global.get $set) (then (return (i32.const 0))))
            (global.set $set (i32.const 1))
            (i32.const 1)))"#;
    wat::parse_str(text).unwrap()
}

/// Two that want one module fetch it once, and whoever has it first, they are seated in the order of the configuration.
#[tokio::test]
async fn filters_of_one_module_fetch_it_once_and_sit_in_their_order() {
    for slow in ["a", "b"] {
        let folder = Folder::new(slow);
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let fetch: Fetch = Rc::new(move |name, _| {
            count.set(count.get() + 1);
            let pause = if name.as_str() == slow { 50 } else { 0 };
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                Ok(once())
            })
        });
        let loader = WasmLoader::new(Compiler::Here, fetch).with_directory(folder.open());
        // A file must be read before anybody knows which module it is.
        let file = folder.0.join("a.wasm");
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(&file, once()).unwrap();
        let first = Filter { name: Name("file".into()), ..of(WasmSource::File(file, 0)) };
        let filters = [first, far("a", &once()), far("b", &once())].map(Arc::new);
        let loaded = join_all(filters.iter().map(|filter| loader.load(filter, None))).await;
        assert!(loaded.iter().all(Result::is_ok), "{loaded:?}");
        assert!(asked.get() <= 1, "{} times", asked.get());
        let plugins = loader.plugins.borrow();
        let [seated] = &plugins.values().collect::<Vec<_>>()[..] else { panic!("they are of one machine") };
        let seats: Vec<_> =
            seated.iter().map(|(plugin, place)| (plugin.upgrade().unwrap().name.to_string(), *place)).collect();
        let seat = |name: &str, place| (name.to_owned(), place);
        assert_eq!(seats, [seat("file", Place::Shared), seat("a", Place::Apart), seat("b", Place::Apart)]);
    }
}

/// Who reads why a filter was refused finds the line of it.
#[tokio::test]
async fn what_is_refused_is_told_with_the_place_of_it() {
    let loader = |bytes: Vec<u8>| {
        let fetch: Fetch = Rc::new(move |_, _| {
            let bytes = bytes.clone();
            Box::pin(async { Ok(bytes) })
        });
        WasmLoader::new(Compiler::Here, fetch).with_directory(Directory::memory())
    };
    let refused = async |filter: Filter, bytes: Vec<u8>| {
        let stands = Stands {
            definition: "f.yaml:1:2: filters[0]".into(),
            configuration: Some("f.yaml:7:9: routes[0]".into()),
            capabilities: Some("f.yaml:3:4: list".into()),
        };
        let filter = Arc::new(Filter { stands, ..filter });
        loader(bytes).load(&filter, None).await.expect_err("it is refused").to_string()
    };
    let configure = |body: &str| {
        let text = format!(
            r#"(module (memory (export "memory") 1)
                (func (export "proxy_abi_version_0_2_1"))
                (func (export "malloc") (param i32) (result i32) (i32.const 8))
                (func (export "proxy_on_configure") (param i32 i32) (result i32) {body}))"#
        );
        of(WasmSource::Inline(wat::parse_str(text).unwrap().into()))
    };
    let routed = |filter: Filter| Filter { route: Some(Name("b".into())), ..filter };
    for body in ["(i32.const 0)", "(unreachable)"] {
        let words = refused(routed(configure(body)), Vec::new()).await;
        let said = "f.yaml:7:9: routes[0]: filter a, as the route b configures it: proxy_on_configure ";
        assert!(words.starts_with(said), "{words}");
    }
    let words = refused(configure("(drop (memory.grow (i32.const 99))) (unreachable)"), Vec::new()).await;
    assert!(words.starts_with("f.yaml:1:2: filters[0]: filter a: ") && words.contains("limits.memory"), "{words}");
    let mut restricted = filter(0);
    if let FilterKind::Wasm(wasm) = &mut restricted.kind {
        wasm.allowed_capabilities = AllowedCapabilities::Only(vec!["proxy_lgo".to_owned()]);
    }
    let words = refused(restricted, Vec::new()).await;
    assert!(words.starts_with("f.yaml:3:4: list: ") && words.ends_with("did you mean proxy_log?"), "{words}");
    let component = b"\0asm\x0d\0\x01\0".to_vec();
    let words = refused(far("component", &component), component).await;
    assert!(words.contains("it is a WebAssembly component") && words.contains("wasm32-wasip1"), "{words}");
}

/// A file that is corrected while a filter is tried does not wait for that filter's end.
#[tokio::test]
async fn a_trial_that_nobody_wants_any_more_is_in_nobodys_way() {
    let nothing: Fetch = Rc::new(|_, _| Box::pin(async { Err("nothing is fetched here".to_owned().into()) }));
    let loader = WasmLoader::new(Compiler::Here, nothing).with_directory(Directory::memory());
    let text = r#"(module (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 8))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (loop $forever (br $forever)) (i32.const 1)))"#;
    let spins = Arc::new(of(WasmSource::Inline(wat::parse_str(text).unwrap().into())));
    let given_up = tokio::time::timeout(Duration::from_millis(700), loader.load(&spins, None)).await;
    assert!(given_up.is_err(), "it may take 5 s");
    let begun = std::time::Instant::now();
    load(&loader, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
