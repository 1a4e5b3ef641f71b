//! One table of names, read from flags (`--image X`) and from annotations of the pod (`pillion.io/image: X`) alike.

use super::{
    Capture, Discovery, Identity, InboundPort, InboundTls, IpFamily, Mode, Redirect, Settings,
    read::{
        LEAST_LIMIT, LEAST_REQUEST, cidr, cpu, each, few, memory, name, port, ports, seconds, unless_empty, upstream,
        word,
    },
};
use pillion_config::model::NotHttp;

/// A setting.
#[derive(Debug)]
pub struct Key {
    /// Its name: `--name`, `pillion.io/name`.
    pub name: &'static str,
    /// How a value looks.
    pub value: &'static str,
    /// What it does, with its default.
    pub about: &'static str,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
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
        about: "Connections are captured by rules of an init container, by the node agent, or not at all [init]",
        set: |settings, text| {
            let known = [("init", Capture::Init), ("node", Capture::Node), ("none", Capture::None)];
            settings.capture = word(text, &known)?;
            Ok(())
        },
    },
    Key {
        name: "redirect",
        value: "agent|none",
        about: "Connections between the proxy and its application go past TCP by the node agent, or through TCP [none; agent where the application needs nothing of what the agent waives]",
        set: |settings, text| {
            settings.redirect = word(text, &[("agent", Redirect::Agent), ("none", Redirect::None)])?;
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
            settings.inbound_tls = unless_empty(text, |text| word(text, &known))?;
            Ok(())
        },
    },
    Key {
        name: "inbound-ports",
        value: "LISTEN:APP,…",
        about: "With --capture none: the proxy's ports before the application's, as 15080:8080; node captures the application's own, and serves these as well",
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
        about: "Ports, of the application and of others, whose bytes are passed on without looking for a protocol, as 3306,5432",
        set: |settings, text| {
            settings.opaque_ports = few(each(text, ports)?)?;
            Ok(())
        },
    },
    Key {
        name: "upstreams",
        value: "[LOCAL:]NAME.NAMESPACE:PORT[=ID],…",
        about: "Services the application calls, by mutual TLS where there is an identity: captured, HTTP by their names in the cluster only (NAME within their namespace, NAME.NAMESPACE, with .svc or .svc.DOMAIN); LOCAL with --capture none, for any protocol",
        set: |settings, text| {
            settings.upstreams = each(text, upstream)?;
            Ok(())
        },
    },
    Key {
        name: "discovery",
        value: "dns|endpoint-slices",
        about: "Upstreams are found by name, or by EndpointSlices, which the pod's service account must be allowed to watch [dns]",
        set: |settings, text| {
            settings.discovery =
                word(text, &[("dns", Discovery::Dns), ("endpoint-slices", Discovery::EndpointSlices)])?;
            Ok(())
        },
    },
    Key {
        name: "zone",
        value: "ZONE",
        about: "With --discovery endpoint-slices: where the pod is, for hints [its label topology.kubernetes.io/zone, which Kubernetes sets since 1.35]",
        set: |settings, text| {
            settings.zone = unless_empty(text, name)?;
            Ok(())
        },
    },
    Key {
        name: "identity",
        value: "none|secret:NAME|csi[:DRIVER]|workload-api[:SOCKET]",
        about: "Certificates from a Secret or a CSI volume (tls.crt, tls.key, ca.crt), or from the SPIFFE Workload API, by the driver csi.spiffe.io and the name of its socket (spire-agent.sock) [none]",
        set: |settings, text| {
            settings.identity = match text.split_once(':').unwrap_or((text, "")) {
                ("none", "") => Identity::None,
                ("csi", "") => Identity::Csi("spiffe.csi.cert-manager.io".to_owned()),
                ("csi", driver) => Identity::Csi(name(driver)?),
                ("workload-api", "") => Identity::WorkloadApi("spire-agent.sock".to_owned()),
                ("workload-api", socket) if !socket.contains('/') => Identity::WorkloadApi(name(socket)?),
                ("secret", secret) if !secret.is_empty() => Identity::Secret(name(secret)?),
                _ => {
                    return Err(
                        "write none, secret:NAME, csi, csi:DRIVER, workload-api or workload-api:SOCKET".to_owned()
                    );
                }
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
        about: "The proxy's image, by tag or digest [pillion:VERSION]",
        set: |settings, text| {
            settings.image = text.parse()?;
            Ok(())
        },
    },
    Key {
        name: "init-image",
        value: "IMAGE",
        about: "The image that installs the rules, with --capture init [the proxy's, its tag with -init; none beside a digest]",
        set: |settings, text| {
            settings.init_image = unless_empty(text, str::parse)?;
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
        name: "image-pull-secrets",
        value: "NAME,…",
        about: "Secrets of the pod's namespace by which its images are pulled, beside those that the pod names itself",
        set: |settings, text| {
            settings.image_pull_secrets = each(text, name)?;
            Ok(())
        },
    },
    Key {
        name: "cpu-request",
        value: "QUANTITY",
        about: "[10m: some 350 requests a second]",
        set: |settings, text| {
            settings.cpu_request = cpu(text)?;
            Ok(())
        },
    },
    Key {
        name: "cpu-limit",
        value: "QUANTITY|none",
        about: "[none: a proxy that waits for its quota delays every request]",
        set: |settings, text| {
            settings.cpu_limit = if text == "none" { None } else { Some(cpu(text)?) };
            Ok(())
        },
    },
    Key {
        name: "memory-request",
        value: "QUANTITY",
        about: "[16Mi: twice what it holds after a load test]",
        set: |settings, text| {
            settings.memory_request = memory(text, LEAST_REQUEST)?;
            Ok(())
        },
    },
    Key {
        name: "memory-limit",
        value: "QUANTITY|none",
        about: "[128Mi; near it the proxy sheds idle connections before the kernel kills it]",
        set: |settings, text| {
            settings.memory_limit = if text == "none" { None } else { Some(memory(text, LEAST_LIMIT)?) };
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
            settings.filters = unless_empty(text, |text| Ok(text.to_owned()))?;
            Ok(())
        },
    },
    Key {
        name: "not-http",
        value: "refuse|pass",
        about: "Inbound connections that are not HTTP are closed, or passed on unjudged, as the field `tcp.not_http` says [refuse where there are filters, which they would get round]",
        set: |settings, text| {
            let known = [("refuse", NotHttp::Refuse), ("pass", NotHttp::Pass)];
            settings.not_http = unless_empty(text, |text| word(text, &known))?;
            Ok(())
        },
    },
    Key {
        name: "config",
        value: "CONFIGMAP",
        about: "A ConfigMap whose pillion.yaml is the proxy's configuration, instead of a generated one",
        set: |settings, text| {
            settings.config = unless_empty(text, name)?;
            Ok(())
        },
    },
    Key {
        name: "drain-delay",
        value: "DURATION",
        about: "How long connections are accepted after a pod was told to end: endpoints are forgotten with a delay [5s, at \
                most half of the grace period; longer where a container's preStop sleeps for longer]",
        set: |settings, text| {
            settings.drain_delay = seconds(text)?;
            Ok(())
        },
    },
    Key {
        name: "drain-deadline",
        value: "DURATION",
        about: "When what is still open is cut [5s before the pod's grace period ends, a quarter of it if that is less]",
        set: |settings, text| {
            settings.drain_deadline = unless_empty(text, seconds)?;
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

/// The setting of that name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
