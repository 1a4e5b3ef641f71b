//! Which settings do not go together.

use super::super::obstacles::own_ports;
use super::{Capture, Discovery, Identity, InboundTls, Redirect, Settings};
use std::collections::BTreeSet;

impl Settings {
    /// What does not go together, each with the name of the setting to change.
    #[must_use]
    pub fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut say = |name, words: &str| found.push((name, words.to_owned()));
        if self.identity == Identity::None && self.inbound_tls.is_some_and(|tls| tls != InboundTls::Off) {
            say("inbound-tls", "mutual TLS needs certificates: set identity as well");
        }
        if self.identity == Identity::None {
            for id in self.upstreams.iter().filter_map(|upstream| upstream.identity.as_deref()) {
                say("upstreams", &format!("to tell that it is {id} needs certificates: set identity as well"));
            }
        }
        if self.capture == Capture::Init
            && let Err(words) = self.init_image()
        {
            say("image", &words);
        }
        match self.capture {
            Capture::None => self.of_no_capture(&mut say),
            Capture::Init | Capture::Node => self.of_capture(&mut say),
        }
        if self.discovery == Discovery::Dns && self.zone.is_some() {
            say("zone", "hints are in EndpointSlices: set discovery endpoint-slices as well");
        }
        if self.config.is_some() {
            for name in self.of_generated() {
                say(name, "belongs to a generated configuration; with config, write it there");
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

    /// Where nothing is captured.
    fn of_no_capture(&self, say: &mut impl FnMut(&'static str, &str)) {
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
    }

    /// Where connections are captured, by rules or by the node's agent.
    fn of_capture(&self, say: &mut impl FnMut(&'static str, &str)) {
        if self.capture == Capture::Init && !self.inbound_ports.is_empty() {
            say(
                "inbound-ports",
                "for capture none, and node where clients know them: captured ports need no other ones",
            );
        }
        if self.capture == Capture::Node {
            for (name, empty, chart, agent) in [
                ("skip-outbound-ports", self.skip_outbound_ports.is_empty(), "excludePorts", "--exclude-ports"),
                ("skip-outbound-cidrs", self.skip_outbound_cidrs.is_empty(), "excludeCidrs", "--exclude"),
            ] {
                if !empty {
                    let words = format!(
                        "with capture node the node's agent leaves them out, for all pods of the node: nodeAgent.{chart} \
                         of the chart, or {agent} of pillion redirect agent"
                    );
                    say(name, &words);
                }
            }
        }
        // What comes to these is led to nobody else as it is, and by one of them a node's agent is proven to capture.
        let skipped = |port: &u16| self.skips_inbound(*port);
        let own: BTreeSet<u16> = own_ports(self).into_iter().filter(skipped).collect();
        if !own.is_empty() {
            let own = own.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let words = format!(
                "the proxy's own ports ({own}) are led to nobody else, skipped or not: write the application's alone"
            );
            say("skip-inbound-ports", &words);
        }
        if self.upstreams.iter().any(|upstream| upstream.local.is_some()) {
            say("upstreams", "a local port is for capture none only");
        }
        let opaque = |port| self.opaque_ports.iter().any(|ports| ports.contain(port));
        for port in self.upstreams.iter().map(|upstream| upstream.port).filter(|port| opaque(*port)) {
            say(
                "upstreams",
                &format!(
                    "the bytes of the opaque port {port} do not say which service they are for: take it out of one of \
                     the two, or give the upstream a local port with capture none"
                ),
            );
        }
    }

    /// What differs from its default and shows in a generated configuration alone.
    #[must_use]
    pub fn of_generated(&self) -> Vec<&'static str> {
        let default = Self::default();
        let all = [
            ("redirect", self.redirect == Redirect::None),
            ("inbound-ports", self.inbound_ports.is_empty()),
            // Rules are installed by a container of ours; a node's agent is told by the proxy.
            ("skip-inbound-ports", self.capture != Capture::Node || self.skip_inbound_ports.is_empty()),
            ("upstreams", self.upstreams.is_empty()),
            ("opaque-ports", self.opaque_ports.is_empty()),
            ("discovery", self.discovery == Discovery::Dns),
            ("filters", self.filters.is_none()),
            ("not-http", self.not_http.is_none()),
            ("inbound-tls", self.inbound_tls.is_none()),
            ("trust-domain", self.trust_domain == default.trust_domain),
            ("cluster-domain", self.cluster_domain == default.cluster_domain),
            ("workers", self.workers == default.workers),
            ("drain-delay", self.drain_delay == default.drain_delay),
            ("drain-deadline", self.drain_deadline == default.drain_deadline),
        ];
        all.into_iter().filter(|(_, unset)| !unset).map(|(name, _)| name).collect()
    }
}
