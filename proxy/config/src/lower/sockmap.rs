//! Loopback traffic past the kernel's TCP path.

use super::Lowering;
use crate::{
    document::{self, FilePath, Int, RedirectBy, Scalar, Waiver},
    model::{LoopbackRedirect, RedirectOutbound},
    tree::Place,
};

pub(super) fn redirect(
    cx: &mut Lowering<'_, '_>,
    redirect: document::LoopbackRedirect,
    at: Place,
) -> Option<LoopbackRedirect> {
    let instance_at = redirect.instance.place().unwrap_or(at);
    let instance = redirect.instance.value()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if instance.as_str().len() > 64 || !instance.as_str().bytes().all(fits) {
        cx.error(instance_at, "this names a directory: write letters, digits, `-` and `_`, at most 64 of them");
    }
    let cgroup_at = redirect.cgroup.place().unwrap_or(at);
    let cgroup = redirect.cgroup.value().map(|FilePath(path)| path);
    if cgroup.as_ref().is_some_and(|path| path.is_relative()) {
        cx.error(cgroup_at, "write the whole path, as /sys/fs/cgroup/kubepods/pod1");
    }
    let waive_at = redirect.waive.place().unwrap_or(at);
    let waived = redirect.waive.elements();
    let waived = cx
        .elements(waive_at, waived)
        .into_iter()
        .map(|(waiver, _)| match waiver {
            Waiver::Fionread => "fionread",
            Waiver::Peek => "peek",
            Waiver::Splice => "splice",
            Waiver::Duplex => "duplex",
            Waiver::WaitAll => "wait_all",
        })
        .collect();
    let outbound = match redirect.outbound.at(at) {
        Some((outbound, at)) => Some(outbound_of(cx, outbound, at)?),
        None => None,
    };
    let by_agent = redirect.by.at(at).is_some_and(|(by, _)| by == RedirectBy::Agent);
    Some(LoopbackRedirect {
        by_agent,
        instance,
        cgroup,
        large_messages: redirect.large_messages.value()?.0,
        sockets: redirect.sockets.value()?.to(),
        waived,
        outbound,
    })
}

fn outbound_of(cx: &mut Lowering<'_, '_>, outbound: document::RedirectOutbound, at: Place) -> Option<RedirectOutbound> {
    let (exclude_at, ports_at) = (outbound.exclude.place().unwrap_or(at), outbound.exclude_ports.place().unwrap_or(at));
    let (exclude, ports) = (outbound.exclude.elements(), outbound.exclude_ports.elements());
    let exclude = cx.elements(exclude_at, exclude).into_iter().map(|(Scalar(network), _)| network).collect();
    let exclude_ports = cx.elements(ports_at, ports).into_iter().map(|(Scalar(port), _)| port.to()).collect();
    let (port, _) = cx.required(at, "port", outbound.port)?;
    let Scalar(port): Scalar<Int<1, 65_535>> = port;
    Some(RedirectOutbound { port: port.to(), exclude, exclude_ports })
}
