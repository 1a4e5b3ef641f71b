//! `pillion redirect`: the eBPF side by hand, and the agent that does it for a proxy without privileges.

use super::{
    arguments::{Given, Opt, Stop, Verb},
    rules,
    values::{cgroup, folders, list, listen, number, prefixes, properties, size, sockets},
};
use crate::loopback::{self, ANOTHER_ROOM};
use redirect::{
    AttachError, Capture, Detached, Ended, Object, Options, PinError, Property, Proxy, Standing, Totals, Watch,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

const fn opt(long: &'static str, value: &'static str, about: &'static str) -> Opt {
    Opt { long, short: None, value, about }
}

const INSTANCE: Opt = opt("instance", "NAME", "Which instance, where there are several [default: pillion]");
const JSON: Opt = opt("json", "", "Print JSON");
const WAIVE: Opt = opt(
    "waive",
    "LIST",
    "Properties of the self-test that may fail, as splice,duplex,wait_all: no application here needs them",
);
const OBJECT: Opt = opt("object", "FILE", "Programs other than those of this build");

const METRICS: Opt =
    opt("metrics", "ADDRESS", "Serve /metrics, /livez and /readyz there, as 127.0.0.1:15021 [default: nowhere]");

/// The agent's alone: whoever attaches and exits serves nothing, and sees no namespace come or go.
const AGENT_ONLY: &[Opt] = &[
    METRICS,
    opt(
        "capture-inbound",
        "",
        "Give what comes into a proxy's network namespace to the listener by which it claims it; --capture then takes what goes \
         out of such namespaces, and of no others",
    ),
    opt(
        "namespaces",
        "LIST",
        "Directories where the container runtime keeps network namespaces, as /run/netns,/var/run/netns [default: /run/netns]",
    ),
    opt(
        "stay",
        "",
        "Leave everything attached at the end, for the agent that comes next; `redirect detach` takes it away",
    ),
];

const AGENTS: &[Opt] = &{
    let mut all = [METRICS; WHAT.len() + AGENT_ONLY.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < WHAT.len() { WHAT[at] } else { AGENT_ONLY[at - WHAT.len()] };
        at += 1;
    }
    all
};

const WHAT: &[Opt] = &[
    INSTANCE,
    opt("cgroup", "PATH", "The cgroup (version 2) of application and proxy [default: that of this process]"),
    opt("ports", "LIST", "The ports that the proxy listens on, as 15001,15006"),
    opt("proxy-uid", "NUMBER", "The user that the proxy runs as: its upstream connections are redirected too"),
    opt("proxy-pid", "NUMBER", "The proxy's process, as this process sees it"),
    opt("proxy-cgroup", "PATH", "The cgroup that the proxy alone runs in"),
    opt("large", "SIZE", "Messages of this size and more stay on TCP [default: 64KiB]"),
    opt(
        "sockets",
        "NUMBER",
        "Ends of connections that are past TCP at a time, two a connection; more stay on TCP [default: 65536]",
    ),
    opt(
        "capture",
        "PORT",
        "Take outbound connections to the proxy's port, without netfilter rules: of everybody in the cgroup, which has one proxy; \
         with an agent's --capture-inbound in those network namespaces alone that a proxy has claimed",
    ),
    opt(
        "probe-port",
        "PORT",
        "capture.probe_port, by which the proxy proves that it captures; `none` [default: 15099]",
    ),
    opt("exclude", "LIST", "Destinations that are not captured, as 10.0.0.0/8,fd00::/8"),
    opt("exclude-ports", "LIST", "Destination ports that are not captured, as 22,53"),
    WAIVE,
    OBJECT,
];

pub(super) const PROBE: Verb = Verb {
    name: "redirect probe",
    about: "Say whether this node can take loopback connections past TCP, and why not",
    usage: "[OPTIONS]",
    options: &[JSON, OBJECT],
    examples: &["redirect probe", "redirect probe --json"],
};
pub(super) const ATTACH: Verb = Verb {
    name: "redirect attach",
    about: "Attach the BPF programs that take loopback connections past TCP, or replace them, and exit",
    usage: "[OPTIONS]",
    options: WHAT,
    examples: &["redirect attach --ports 15001,15006 --proxy-uid 1337 --cgroup /sys/fs/cgroup/kubepods/pod1"],
};
pub(super) const AGENT: Verb = Verb {
    name: "redirect agent",
    about: "Attach the BPF programs for a proxy without privileges, watch them, detach them at the end",
    usage: "[OPTIONS]",
    options: AGENTS,
    examples: &[
        "redirect agent --ports 15001 --proxy-uid 1337 --metrics 127.0.0.1:15021",
        "redirect agent --proxy-uid 1337 --capture-inbound --namespaces /run/netns",
    ],
};
pub(super) const SWITCH: Verb = Verb {
    name: "redirect switch",
    about: "Leave loopback connections to TCP at once (off), or take them past it again (on)",
    usage: "--to on|off",
    options: &[INSTANCE, opt("to", "on|off", "off: every connection goes on through TCP")],
    examples: &["redirect switch --to off"],
};
pub(super) const DETACH: Verb = Verb {
    name: "redirect detach",
    about: "Detach the BPF programs; connections go on through TCP",
    usage: "[OPTIONS]",
    options: &[INSTANCE],
    examples: &["redirect detach"],
};
pub(super) const STATUS: Verb = Verb {
    name: "redirect status",
    about: "Show the BPF programs that are attached and what they count",
    usage: "[OPTIONS]",
    options: &[INSTANCE, JSON, opt("watch", "", "Again every second, until interrupted")],
    examples: &["redirect status", "redirect status --watch"],
};

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    Probe { json: bool, object: Option<PathBuf> },
    Attach(What),
    Agent(What, Agent),
    Switch { instance: String, on: bool },
    Detach { instance: String },
    Status { instance: String, json: bool, watch: bool },
}

/// What to attach.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct What {
    instance: String,
    cgroup: Option<PathBuf>,
    ports: Vec<u16>,
    proxies: Vec<Proxy>,
    large: Option<u32>,
    sockets: Option<u32>,
    capture: Option<Capture>,
    waived: Vec<Property>,
    object: Option<PathBuf>,
}

/// What an agent does beside attaching.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Agent {
    metrics: Option<SocketAddr>,
    /// Where files of network namespaces are; none: nothing that comes in is captured.
    namespaces: Vec<PathBuf>,
    stay: bool,
}

impl Given {
    pub(super) fn redirect(&self, name: &str) -> Result<Redirect, Stop> {
        let instance = self.text("instance")?.unwrap_or_else(|| redirect_default().into());
        let json = self.option("json").is_some();
        match name {
            "redirect probe" => Ok(Redirect::Probe { json, object: self.path("object")? }),
            "redirect attach" => self.what(instance).map(Redirect::Attach),
            "redirect agent" => {
                let what = self.what(instance)?;
                let inbound = self.option("capture-inbound").is_some();
                let namespaces = self.read_as("namespaces", folders)?;
                if namespaces.is_some() && !inbound {
                    return Err(
                        self.wrong(&"--namespaces is about what --capture-inbound takes; write it, or leave it out")
                    );
                }
                if inbound && what.proxies.is_empty() {
                    return Err(self.wrong(
                        &"whose claims are taken? Beside --capture-inbound write --proxy-uid, --proxy-pid or --proxy-cgroup",
                    ));
                }
                let namespaces = if inbound {
                    namespaces.unwrap_or_else(|| vec![redirect::inbound::NAMESPACES.into()])
                } else {
                    Vec::new()
                };
                let stay = self.option("stay").is_some();
                Ok(Redirect::Agent(what, Agent { metrics: self.read_as("metrics", listen)?, namespaces, stay }))
            }
            "redirect switch" => {
                self.required("to")?;
                let on = self.read_as("to", |text| match text {
                    "on" => Ok(true),
                    "off" => Ok(false),
                    _ => Err("write on or off"),
                })?;
                Ok(Redirect::Switch { instance, on: on.unwrap_or(false) })
            }
            "redirect detach" => Ok(Redirect::Detach { instance }),
            _ => Ok(Redirect::Status { instance, json, watch: self.option("watch").is_some() }),
        }
    }

    fn path(&self, long: &str) -> Result<Option<PathBuf>, Stop> {
        Ok(self.text(long)?.map(PathBuf::from))
    }

    fn what(&self, instance: String) -> Result<What, Stop> {
        let mut proxies = Vec::new();
        proxies.extend(self.read_as("proxy-uid", number::<u32>)?.map(Proxy::User));
        proxies.extend(self.read_as("proxy-pid", number::<u32>)?.map(Proxy::Process));
        proxies.extend(self.read_as("proxy-cgroup", cgroup)?.map(Proxy::Cgroup));
        let capture = self.read_as("capture", number::<u16>)?;
        let exclude = self.read_as("exclude", prefixes)?.unwrap_or_default();
        let probe = self.read_as("probe-port", rules::port)?.unwrap_or(Some(PROBE_PORT));
        let exclude_ports: BTreeSet<u16> =
            self.read_as("exclude-ports", list)?.unwrap_or_default().into_iter().collect();
        let ports = self.read_as("ports", list)?.unwrap_or_default();
        if capture.is_none() && (self.option("exclude").is_some() || self.option("exclude-ports").is_some()) {
            return Err(self
                .wrong(&"--exclude and --exclude-ports are about what --capture takes; write it, or leave them out"));
        }
        if ports.is_empty() && proxies.is_empty() && capture.is_none() {
            return Err(self.wrong(
                &"which connections are redirected? Write --ports for those to the proxy, --proxy-uid, --proxy-pid or \
                  --proxy-cgroup for those it makes, --capture for those it shall take",
            ));
        }
        Ok(What {
            instance,
            cgroup: self.path("cgroup")?,
            ports,
            proxies,
            large: self.read_as("large", size)?,
            sockets: self.read_as("sockets", sockets)?,
            capture: capture.map(|port| Capture { port, exclude, exclude_ports, probe }),
            waived: self.read_as("waive", properties)?.unwrap_or_default(),
            object: self.path("object")?,
        })
    }
}

/// `capture.probe_port`'s default.
const PROBE_PORT: u16 = 15_099;

/// The instance of a proxy that is alone.
const fn redirect_default() -> &'static str {
    "pillion"
}

type Failed = Box<dyn std::error::Error>;

fn object(file: Option<&Path>) -> Result<Object, Failed> {
    match file {
        None => Ok(Object::default()),
        Some(file) => {
            let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok(Object::of(bytes, file.display().to_string()))
        }
    }
}

impl What {
    fn options(self) -> Result<Options, Failed> {
        for proxy in &self.proxies {
            if let Proxy::Process(pid) = proxy
                && !Path::new(&format!("/proc/{pid}")).exists()
            {
                return Err(format!("--proxy-pid {pid}: there is no such process here").into());
            }
        }
        let cgroup = match self.cgroup {
            Some(cgroup) => cgroup,
            None => redirect::own_cgroup()?,
        };
        let object = object(self.object.as_deref())?;
        let mut options = Options::new(self.instance, cgroup);
        options.ports.extend(self.ports);
        options.proxies = self.proxies;
        options.large = self.large.unwrap_or(options.large);
        options.sockets = self.sockets.unwrap_or(options.sockets);
        options.capture = self.capture;
        options.waived = self.waived;
        options.object = object;
        Ok(options)
    }
}

impl Redirect {
    /// Does it.
    pub(super) fn run(self) -> ExitCode {
        match self.carry_out() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("pillion: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn carry_out(self) -> Result<ExitCode, Failed> {
        let mut out = io::stdout().lock();
        match self {
            Self::Probe { json, object: file } => {
                let probe = redirect::probe(&object(file.as_deref())?);
                if json {
                    writeln!(out, "{:#}", probe.to_json())?;
                } else {
                    writeln!(out, "{probe}")?;
                }
                return Ok(if probe.is_good(&[]) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Self::Attach(what) => {
                let options = what.options()?;
                let attached = redirect::attach(&options)?;
                let word = if attached.replaced { "replaced" } else { "attached" };
                writeln!(out, "{word} {} on {}", options.instance, options.cgroup.display())?;
                if !attached.on {
                    let instance = &options.instance;
                    writeln!(
                        out,
                        "switched off as before: `pillion redirect switch --instance {instance} --to on` puts it back"
                    )?;
                }
                if attached.room != u64::from(options.sockets) {
                    writeln!(out, "room for {} sockets and not {}: {ANOTHER_ROOM}", attached.room, options.sockets)?;
                }
                if attached.let_go > 0 {
                    writeln!(
                        out,
                        "what comes into {} network namespaces that proxies have claimed is let go, past them to the applications: only \
                         `pillion redirect agent --capture-inbound` captures it",
                        attached.let_go
                    )?;
                }
                if options.ports.is_empty() && options.capture.is_none() {
                    writeln!(
                        out,
                        "without --ports: connections to the proxy go through TCP, its own upstream ones are redirected"
                    )?;
                }
                for outcome in attached.report.outcomes.iter().filter(|outcome| outcome.failure.is_some()) {
                    writeln!(out, "waived: {} fails on this kernel", outcome.property)?;
                }
            }
            Self::Agent(what, agent) => {
                drop(out);
                let mut options = what.options()?;
                options.inbound = !agent.namespaces.is_empty();
                return loopback::run_agent(&options, agent.metrics, &agent.namespaces, agent.stay);
            }
            Self::Switch { instance, on } => redirect::switch(&instance, on)?,
            Self::Detach { instance } => match redirect::detach(&instance)? {
                Detached::Absent => writeln!(out, "nothing is attached")?,
                Detached::Gone => writeln!(out, "detached")?,
                Detached::Claimed(namespaces) => {
                    writeln!(
                        out,
                        "detached; what was claimed of {namespaces} network namespaces is kept for who attaches next, as long as their \
                         proxies listen"
                    )?;
                }
                Detached::Foreign { layout, ends } => {
                    let left = match ends {
                        0 => String::new(),
                        _ => format!("; {ends} ends of connections go on through TCP, their maps go with the last one"),
                    };
                    writeln!(
                        out,
                        "detached what another version of pillion had attached (layout {layout}){left}; what proxies had claimed \
                         by it they claim anew from who attaches next"
                    )?;
                }
                Detached::Draining(ends) => {
                    writeln!(
                        out,
                        "detached; {ends} ends of connections go on through TCP, their maps go with the last one"
                    )?;
                }
            },
            Self::Status { instance, json, watch: false } => match status(&instance)? {
                Shown::Foreign(foreign) => {
                    if json {
                        writeln!(out, "{:#}", loopback::foreign_json(&foreign))?;
                    } else {
                        write!(out, "{}", loopback::foreign_text(&instance, &foreign))?;
                    }
                    return Ok(is_attached(foreign.iter().any(|one| !one.links.is_empty())));
                }
                Shown::None => {
                    if json {
                        writeln!(out, "{:#}", serde_json::json!({ "attached": false }))?;
                    } else {
                        writeln!(out, "nothing is attached")?;
                    }
                    return Ok(ExitCode::FAILURE);
                }
                Shown::Ours(status) => {
                    if json {
                        writeln!(out, "{:#}", loopback::status_json(&status))?;
                    } else {
                        write!(out, "{}", loopback::status_text(&status))?;
                    }
                    // Maps that are kept for connections or claims attach nothing.
                    return Ok(is_attached(!status.links.is_empty()));
                }
            },
            Self::Status { instance, json, watch: true } => watch(&instance, json, &mut out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What there is to show of an instance.
enum Shown {
    None,
    Ours(Box<redirect::Status>),
    Foreign(Vec<redirect::Foreign>),
}

fn status(instance: &str) -> Result<Shown, Failed> {
    match redirect::status(instance) {
        Err(AttachError::Pin(PinError::Foreign { .. } | PinError::Form { .. })) => {
            Ok(Shown::Foreign(redirect::foreign(instance)?))
        }
        Ok(Some(status)) => Ok(Shown::Ours(Box::new(status))),
        Ok(None) => {
            let left = redirect::foreign(instance)?;
            Ok(if left.is_empty() { Shown::None } else { Shown::Foreign(left) })
        }
        Err(error) => Err(error.into()),
    }
}

const fn is_attached(attached: bool) -> ExitCode {
    if attached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shows every second what has changed. Ends when nobody reads it any more.
fn watch(instance: &str, json: bool, out: &mut impl io::Write) -> Result<(), Failed> {
    let mut watch = Watch::observe(instance)?;
    let mut ended: Ended = watch.ended.clone();
    let mut before = redirect::status(instance)?.ok_or("nothing is attached")?.totals;
    loop {
        thread::sleep(redirect::EVERY);
        let look = watch.look(|_| {})?;
        if look.standing == Standing::Anew {
            (before, ended) = (Totals::default(), Ended::default());
        }
        let since = watch.ended.since(&ended);
        let line = if json {
            loopback::look_json(&look, &before, &since).to_string()
        } else {
            loopback::look_text(&look, &before, &since)
        };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        before = look.reading.totals;
    }
}
