//! What can be chosen about an injection: one table of names, read from flags (`--image X`) and from annotations of the
//! pod (`pillion.io/image: X`) alike. Pure.

use super::quantity::Quantity;
use std::{fmt, time::Duration};

/// Where annotations and labels of ours live.
pub const PREFIX: &str = "pillion.io/";
/// `enabled` or `disabled`, as annotation or label of a pod or its namespace.
pub const INJECT: &str = "pillion.io/inject";
/// Which version injected a pod.
pub const STATUS: &str = "pillion.io/status";

/// A setting.
#[derive(Debug)]
pub struct Key {
    /// Its name: `--name`, `pillion.io/name`.
    pub name: &'static str,
    /// How a value looks.
    pub value: &'static str,
    /// What it does, with its default.
    pub about: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// How the proxy runs beside the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An init container that stays (`restartPolicy: Always`, Kubernetes 1.29).
    Native,
    /// A container like the application's.
    Container,
}

/// What leads the application's connections to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Rules that an init container installs (NET_ADMIN: no Pod Security but *privileged*).
    Init,
    /// The node agent (eBPF).
    Node,
    /// Nothing: the application and its clients are told the proxy's ports.
    None,
}

/// What inbound connections must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundTls {
    /// Mutual TLS.
    Strict,
    /// Mutual TLS of the mesh, or anything else as it is.
    Permissive,
    /// Anything, as it is.
    Off,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// From nowhere: no mutual TLS.
    None,
    /// A Secret with `tls.crt`, `tls.key` and `ca.crt`, as cert-manager makes them.
    Secret(String),
    /// A CSI driver that writes the same three files for the pod's service account.
    Csi(String),
}

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports(pub u16, pub u16);

/// A service that the application calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where the proxy listens for it, where nothing is captured.
    pub local: Option<u16>,
    /// Its name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// Its port.
    pub port: u16,
    /// Who it must be.
    pub identity: Option<String>,
}

/// A listener of the proxy before a port of the application, where nothing is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboundPort {
    /// Where the proxy listens.
    pub listen: u16,
    /// Where the application does.
    pub application: u16,
}

/// Everything that can be chosen.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is described in KEYS, under its own name")]
pub struct Settings {
    pub mode: Mode,
    pub capture: Capture,
    pub inbound_tls: Option<InboundTls>,
    pub inbound_ports: Vec<InboundPort>,
    pub skip_inbound_ports: Vec<Ports>,
    pub skip_outbound_ports: Vec<Ports>,
    pub skip_outbound_cidrs: Vec<String>,
    pub opaque_ports: Vec<Ports>,
    pub upstreams: Vec<Upstream>,
    pub identity: Identity,
    pub trust_domain: String,
    pub cluster_domain: String,
    pub rewrite_probes: bool,
    pub image: String,
    pub init_image: Option<String>,
    pub image_pull_policy: String,
    pub cpu_request: Quantity,
    pub cpu_limit: Option<Quantity>,
    pub memory_request: Quantity,
    pub memory_limit: Option<Quantity>,
    pub workers: u16,
    pub log_level: String,
    pub filters: Option<String>,
    pub config: Option<String>,
    pub drain_delay: Duration,
    pub drain_deadline: Option<Duration>,
    pub ip_family: IpFamily,
}

/// Which addresses the proxy listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4's.
    Ipv4,
    /// Both families', by one socket.
    Dual,
}

/// Every setting.
pub const KEYS: &[Key] = &[
    Key {
        name: "mode",
        value: "native|container",
        about: "A native sidecar (Kubernetes 1.29), or a container beside the others [native]",
        set: |settings, text| {
            settings.mode = word(text, &[("native", Mode::Native), ("container", Mode::Container)])?;
            Ok(())
        },
    },
    Key {
        name: "capture",
        value: "init|node|none",
        about: "Connections are captured by rules of an init container, by the node agent, or not [init]",
        set: |settings, text| {
            let known = [("init", Capture::Init), ("node", Capture::Node), ("none", Capture::None)];
            settings.capture = word(text, &known)?;
            Ok(())
        },
    },
    Key {
        name: "inbound-tls",
        value: "strict|permissive|off",
        about: "What comes in must be mutual TLS, may be, or is passed on as it is [permissive with an identity, else off]",
        set: |settings, text| {
            let known =
                [("strict", InboundTls::Strict), ("permissive", InboundTls::Permissive), ("off", InboundTls::Off)];
            settings.inbound_tls = Some(word(text, &known)?);
            Ok(())
        },
    },
    Key {
        name: "inbound-ports",
        value: "LISTEN:APP,…",
        about: "With --capture none: the proxy's ports before the application's, as 15080:8080",
        set: |settings, text| {
            settings.inbound_ports = each(text, |text| {
                let (listen, application) = text.split_once(':').ok_or("write LISTEN:APP, as 15080:8080")?;
                Ok(InboundPort { listen: port(listen)?, application: port(application)? })
            })?;
            Ok(())
        },
    },
    Key {
        name: "skip-inbound-ports",
        value: "PORTS",
        about: "Ports of the application that are not captured, as 22,9000-9010",
        set: |settings, text| {
            settings.skip_inbound_ports = few(each(text, ports)?)?;
            Ok(())
        },
    },
    Key {
        name: "skip-outbound-ports",
        value: "PORTS",
        about: "Ports of others to which connections are not captured",
        set: |settings, text| {
            settings.skip_outbound_ports = few(each(text, ports)?)?;
            Ok(())
        },
    },
    Key {
        name: "skip-outbound-cidrs",
        value: "CIDRS",
        about: "Networks to which connections are not captured, as 169.254.169.254/32",
        set: |settings, text| {
            settings.skip_outbound_cidrs = each(text, cidr)?;
            Ok(())
        },
    },
    Key {
        name: "opaque-ports",
        value: "PORTS",
        about: "Ports whose bytes are passed on without looking for a protocol, as 3306,5432",
        set: |settings, text| {
            settings.opaque_ports = few(each(text, ports)?)?;
            Ok(())
        },
    },
    Key {
        name: "upstreams",
        value: "[LOCAL:]NAME.NAMESPACE:PORT[=ID],…",
        about: "Services the application calls, by mutual TLS where there is an identity; LOCAL with --capture none",
        set: |settings, text| {
            settings.upstreams = each(text, upstream)?;
            Ok(())
        },
    },
    Key {
        name: "identity",
        value: "none|secret:NAME|csi[:DRIVER]",
        about: "Certificates from a Secret or a CSI volume (tls.crt, tls.key, ca.crt) [none]",
        set: |settings, text| {
            settings.identity = match text.split_once(':').unwrap_or((text, "")) {
                ("none", "") => Identity::None,
                ("csi", "") => Identity::Csi("spiffe.csi.cert-manager.io".to_owned()),
                ("csi", driver) => Identity::Csi(name(driver)?),
                ("secret", secret) if !secret.is_empty() => Identity::Secret(name(secret)?),
                _ => return Err("write none, secret:NAME, csi or csi:DRIVER".to_owned()),
            };
            Ok(())
        },
    },
    Key {
        name: "trust-domain",
        value: "DOMAIN",
        about: "Whose members are trusted [cluster.local]",
        set: |settings, text| {
            settings.trust_domain = name(text)?;
            Ok(())
        },
    },
    Key {
        name: "cluster-domain",
        value: "DOMAIN",
        about: "What the names of services end with [cluster.local]",
        set: |settings, text| {
            settings.cluster_domain = name(text)?;
            Ok(())
        },
    },
    Key {
        name: "rewrite-probes",
        value: "true|false",
        about: "Whether probes of the application are carried out by the proxy, where they would be captured [true]",
        set: |settings, text| {
            settings.rewrite_probes = word(text, &[("true", true), ("false", false)])?;
            Ok(())
        },
    },
    Key {
        name: "image",
        value: "IMAGE",
        about: "The proxy's image [pillion:VERSION]",
        set: |settings, text| {
            settings.image = image(text)?;
            Ok(())
        },
    },
    Key {
        name: "init-image",
        value: "IMAGE",
        about: "The image that installs the rules [the proxy's, with -init]",
        set: |settings, text| {
            settings.init_image = Some(image(text)?);
            Ok(())
        },
    },
    Key {
        name: "image-pull-policy",
        value: "POLICY",
        about: "Always, IfNotPresent or Never [IfNotPresent]",
        set: |settings, text| {
            let known = [("Always", "Always"), ("IfNotPresent", "IfNotPresent"), ("Never", "Never")];
            settings.image_pull_policy = word(text, &known)?.to_owned();
            Ok(())
        },
    },
    Key {
        name: "cpu-request",
        value: "QUANTITY",
        about: "[10m: some 350 requests a second]",
        set: |settings, text| {
            settings.cpu_request = text.parse()?;
            Ok(())
        },
    },
    Key {
        name: "cpu-limit",
        value: "QUANTITY|none",
        about: "[none: a proxy that waits for its quota delays every request]",
        set: |settings, text| {
            settings.cpu_limit = limit(text)?;
            Ok(())
        },
    },
    Key {
        name: "memory-request",
        value: "QUANTITY",
        about: "[16Mi: twice what it holds after a load test]",
        set: |settings, text| {
            settings.memory_request = text.parse()?;
            Ok(())
        },
    },
    Key {
        name: "memory-limit",
        value: "QUANTITY|none",
        about: "[128Mi; near it the proxy sheds idle connections before the kernel kills it]",
        set: |settings, text| {
            settings.memory_limit = limit(text)?;
            Ok(())
        },
    },
    Key {
        name: "workers",
        value: "NUMBER",
        about: "Threads that carry traffic [1]",
        set: |settings, text| {
            let workers = text.parse().ok().filter(|workers| (1..=256).contains(workers));
            settings.workers = workers.ok_or("write a whole number from 1 to 256")?;
            Ok(())
        },
    },
    Key {
        name: "log-level",
        value: "LEVEL",
        about: "off, error, warn, info, debug or trace [info]",
        set: |settings, text| {
            let known = ["off", "error", "warn", "info", "debug", "trace"].map(|level| (level, level));
            settings.log_level = word(text, &known)?.to_owned();
            Ok(())
        },
    },
    Key {
        name: "filters",
        value: "YAML",
        about: "Filters of the inbound listener, as its field `filters` has them",
        set: |settings, text| {
            settings.filters = Some(text.to_owned());
            Ok(())
        },
    },
    Key {
        name: "config",
        value: "CONFIGMAP",
        about: "A ConfigMap whose pillion.yaml is the proxy's configuration, instead of a generated one",
        set: |settings, text| {
            settings.config = Some(name(text)?);
            Ok(())
        },
    },
    Key {
        name: "drain-delay",
        value: "DURATION",
        about: "How long connections are accepted after a pod was told to end: endpoints are forgotten with a delay [5s]",
        set: |settings, text| {
            settings.drain_delay = seconds(text)?;
            Ok(())
        },
    },
    Key {
        name: "drain-deadline",
        value: "DURATION",
        about: "When what is still open is cut [5s before the pod's grace period ends]",
        set: |settings, text| {
            settings.drain_deadline = Some(seconds(text)?);
            Ok(())
        },
    },
    Key {
        name: "ip-family",
        value: "ipv4|dual",
        about: "Both families, or, on nodes without IPv6, IPv4 alone [dual]",
        set: |settings, text| {
            settings.ip_family = word(text, &[("ipv4", IpFamily::Ipv4), ("dual", IpFamily::Dual)])?;
            Ok(())
        },
    },
];

impl Default for Settings {
    fn default() -> Self {
        let quantity = |text: &str| text.parse().unwrap_or_else(|words: String| unreachable!("{text}: {words}"));
        Self {
            mode: Mode::Native,
            capture: Capture::Init,
            inbound_tls: None,
            inbound_ports: Vec::new(),
            skip_inbound_ports: Vec::new(),
            skip_outbound_ports: Vec::new(),
            skip_outbound_cidrs: Vec::new(),
            opaque_ports: Vec::new(),
            upstreams: Vec::new(),
            identity: Identity::None,
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            rewrite_probes: true,
            image: concat!("pillion:", env!("CARGO_PKG_VERSION")).to_owned(),
            init_image: None,
            image_pull_policy: "IfNotPresent".to_owned(),
            cpu_request: quantity("10m"),
            cpu_limit: None,
            memory_request: quantity("16Mi"),
            memory_limit: Some(quantity("128Mi")),
            workers: 1,
            log_level: "info".to_owned(),
            filters: None,
            config: None,
            drain_delay: Duration::from_secs(5),
            drain_deadline: None,
            ip_family: IpFamily::Dual,
        }
    }
}

impl Settings {
    /// Sets what is called `name`.
    ///
    /// # Errors
    /// What is wrong with the value, and what would be right.
    pub fn set(&mut self, key: &Key, text: &str) -> Result<(), String> {
        (key.set)(self, text.trim())
    }

    /// What inbound connections must be.
    #[must_use]
    pub fn inbound_tls(&self) -> InboundTls {
        let default = if self.identity == Identity::None { InboundTls::Off } else { InboundTls::Permissive };
        self.inbound_tls.unwrap_or(default)
    }

    /// The image that installs the rules.
    #[must_use]
    pub fn init_image(&self) -> String {
        self.init_image.clone().unwrap_or_else(|| {
            // A digest names one image and no other.
            match self.image.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') && !self.image.contains('@') => format!("{name}:{tag}-init"),
                _ => self.image.clone(),
            }
        })
    }

    /// What does not go together, each with the name of the setting to change.
    #[must_use]
    pub fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut say = |name, words: &str| found.push((name, words.to_owned()));
        if self.identity == Identity::None && self.inbound_tls.is_some_and(|tls| tls != InboundTls::Off) {
            say("inbound-tls", "mutual TLS needs certificates: set identity as well");
        }
        if self.capture == Capture::None {
            let captured = [
                ("skip-inbound-ports", self.skip_inbound_ports.is_empty()),
                ("skip-outbound-ports", self.skip_outbound_ports.is_empty()),
                ("skip-outbound-cidrs", self.skip_outbound_cidrs.is_empty()),
            ];
            for (name, empty) in captured {
                if !empty {
                    say(name, "nothing is captured with capture none");
                }
            }
            if self.config.is_none() && self.inbound_ports.is_empty() && self.upstreams.is_empty() {
                say("capture", "with none the proxy needs inbound-ports, upstreams or config: it would do nothing");
            }
            if self.upstreams.iter().any(|upstream| upstream.local.is_none()) {
                say("upstreams", "with capture none each needs a local port, as 15432:postgres.shop:5432");
            }
        } else {
            if !self.inbound_ports.is_empty() {
                say("inbound-ports", "for capture none only: captured ports need no other ones");
            }
            if self.upstreams.iter().any(|upstream| upstream.local.is_some()) {
                say("upstreams", "a local port is for capture none only");
            }
        }
        if self.config.is_some() {
            let generated = [
                ("inbound-ports", self.inbound_ports.is_empty()),
                ("upstreams", self.upstreams.is_empty()),
                ("opaque-ports", self.opaque_ports.is_empty()),
                ("filters", self.filters.is_none()),
                ("inbound-tls", self.inbound_tls.is_none()),
            ];
            for (name, unset) in generated {
                if !unset {
                    say(name, "belongs to a generated configuration; with config, write it there");
                }
            }
        }
        for (name, request, limit) in [
            ("cpu-limit", &self.cpu_request, &self.cpu_limit),
            ("memory-limit", &self.memory_request, &self.memory_limit),
        ] {
            if limit.as_ref().is_some_and(|limit| limit.amount() < request.amount()) {
                say(name, &format!("below the request of {request}"));
            }
        }
        found
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}-{}", self.0, self.1) }
    }
}

impl Ports {
    /// Whether a port is among them.
    #[must_use]
    pub fn contain(self, port: u16) -> bool {
        (self.0..=self.1).contains(&port)
    }
}

fn word<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        format!("{text:?} is not one of {}", words.join(", "))
    })
}

/// Elements between commas; nothing at all is none.
fn each<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    elements.map(|element| read(element).map_err(|words| format!("{element:?}: {words}"))).collect()
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.trim().parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "a port is a whole number from 1 to 65535".to_owned())
}

fn ports(text: &str) -> Result<Ports, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let ports = Ports(port(from)?, port(to)?);
    if ports.0 > ports.1 { Err(format!("write the smaller one first: {}-{}", ports.1, ports.0)) } else { Ok(ports) }
}

/// Each of them becomes a rule.
fn few(ports: Vec<Ports>) -> Result<Vec<Ports>, String> {
    let many = ports.iter().map(|ports| u32::from(ports.1 - ports.0) + 1).sum::<u32>() > 256;
    if many { Err("more than 256 ports".to_owned()) } else { Ok(ports) }
}

fn cidr(text: &str) -> Result<String, String> {
    let remedy = || "write an address or a network, as 10.0.0.0/8 or 2001:db8::/32".to_owned();
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: std::net::IpAddr = address.parse().map_err(|_| remedy())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(most), str::parse::<u8>).ok().filter(|length| *length <= most).ok_or_else(remedy)?;
    Ok(format!("{address}/{length}"))
}

fn upstream(text: &str) -> Result<Upstream, String> {
    let remedy =
        || "write NAME.NAMESPACE:PORT, as api.shop:8080; =spiffe://… behind it names who it must be".to_owned();
    let (place, identity) =
        text.split_once('=').map_or((text, None), |(place, id)| (place, Some(id.trim().to_owned())));
    let parts: Vec<&str> = place.trim().split(':').collect();
    let (local, host, at) = match parts[..] {
        [host, at] => (None, host, at),
        [local, host, at] => (Some(port(local)?), host, at),
        _ => return Err(remedy()),
    };
    let (service, namespace) = host.split_once('.').ok_or_else(remedy)?;
    if namespace.contains('.') {
        return Err(remedy());
    }
    Ok(Upstream { local, service: name(service)?, namespace: name(namespace)?, port: port(at)?, identity })
}

/// RFC 1123, as Kubernetes names its objects.
fn name(text: &str) -> Result<String, String> {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(word) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no name: write lower-case letters, digits, - and ."))
}

fn image(text: &str) -> Result<String, String> {
    let plain =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'$'));
    if plain { Ok(text.to_owned()) } else { Err(format!("{text:?} is no image: write one as registry/pillion:0.1.0")) }
}

fn limit(text: &str) -> Result<Option<Quantity>, String> {
    if text == "none" { Ok(None) } else { text.parse().map(Some) }
}

/// Whole seconds or milliseconds, as `5s`, `500ms`, `1m30s`.
fn seconds(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = rest.split_at(digits);
        let known = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let found = known.iter().find(|(name, _)| unit.starts_with(name) && (*name != "m" || !unit.starts_with("ms")));
        let value =
            found.and_then(|(name, millis)| Some((name.len(), number.parse::<u64>().ok()?.checked_mul(*millis)?)));
        let Some((length, millis)) = value else {
            return Err(format!("{text:?} is no duration: write whole numbers with units, as 5s or 1m30s"));
        };
        total = total.saturating_add(millis);
        rest = &unit[length..];
    }
    let fits = !text.is_empty() && total <= 86_400_000;
    fits.then(|| Duration::from_millis(total)).ok_or_else(|| format!("{text:?}: write a duration up to 24h, as 5s"))
}

/// The setting of that name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.set(key(name).unwrap(), text).map(|()| settings)
    }

    #[test]
    fn what_is_right_is_read() {
        assert_eq!(
            set("skip-inbound-ports", "22, 9000-9010").unwrap().skip_inbound_ports,
            [Ports(22, 22), Ports(9000, 9010)]
        );
        assert_eq!(set("identity", "csi").unwrap().identity, Identity::Csi("spiffe.csi.cert-manager.io".into()));
        let upstreams = set("upstreams", "15432:db.shop:5432=spiffe://x/y,api.shop:80").unwrap().upstreams;
        assert_eq!((upstreams[0].local, upstreams[1].local), (Some(15432), None));
        assert_eq!(upstreams[0].identity.as_deref(), Some("spiffe://x/y"));
        assert_eq!(set("drain-deadline", "1m30s").unwrap().drain_deadline, Some(Duration::from_secs(90)));
        assert_eq!(set("drain-delay", "250ms").unwrap().drain_delay, Duration::from_millis(250));
        assert_eq!(set("image", "r.io:5000/p:1").unwrap().init_image(), "r.io:5000/p:1-init");
        assert_eq!(set("image", "r.io:5000/p").unwrap().init_image(), "r.io:5000/p");
        assert_eq!(set("image", "p@sha256:00").unwrap().init_image(), "p@sha256:00");
        assert_eq!(
            set("skip-outbound-cidrs", "10.0.0.1,fd00::/8").unwrap().skip_outbound_cidrs,
            ["10.0.0.1/32", "fd00::/8"]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_the_remedy() {
        for (name, text, words) in [
            ("mode", "sidecar", "not one of native, container"),
            ("capture", "", "not one of"),
            ("skip-inbound-ports", "0", "1 to 65535"),
            ("skip-inbound-ports", "9-8", "8-9"),
            ("skip-outbound-cidrs", "10.0.0.0/33", "10.0.0.0/8"),
            ("upstreams", "api:80", "NAME.NAMESPACE:PORT"),
            ("upstreams", "api.shop.svc:80", "NAME.NAMESPACE:PORT"),
            ("inbound-ports", "8080", "LISTEN:APP"),
            ("identity", "secret:", "secret:NAME"),
            ("identity", "secret:A_b", "no name"),
            ("image", "a b", "no image"),
            ("cpu-request", "ten", "quantity"),
            ("workers", "0", "1 to 256"),
            ("drain-delay", "5", "5s"),
            ("drain-delay", "", "duration"),
            ("drain-delay", "9999999999999h", "duration"),
            ("config", "Über", "no name"),
        ] {
            let error = set(name, text).unwrap_err();
            assert!(error.contains(words), "{name}={text}: {error}");
        }
    }

    #[test]
    fn contradictions_are_found() {
        let mut settings = Settings::default();
        assert_eq!(settings.contradictions(), []);
        for (name, text) in [
            ("inbound-tls", "strict"),
            ("capture", "none"),
            ("memory-limit", "8Mi"),
            ("config", "c"),
            ("opaque-ports", "1"),
        ] {
            settings.set(key(name).unwrap(), text).unwrap();
        }
        let names: Vec<&str> = settings.contradictions().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["inbound-tls", "opaque-ports", "inbound-tls", "memory-limit"]);
    }
}
