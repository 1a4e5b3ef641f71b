//! The load generator as a process of its own: its arguments, its run, its answer.

use super::Load;
use crate::{
    compare::{
        measure::{
            cores::Role,
            group::{Group, Output},
        },
        world::{GRACE, World, last_words},
    },
    load::{Held, Outcome},
};
use std::{
    io::{self, BufRead as _},
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// One run of the generator.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// What is sent.
    pub load: Load,
    /// To whom.
    pub target: SocketAddr,
    /// Asked for in place of the load's own path.
    pub path: Option<&'a str>,
    /// Requests a second; none for as many as it bears.
    pub rate: Option<f64>,
    /// How long.
    pub seconds: f64,
}

/// The generator's arguments. Pure.
#[must_use]
pub fn arguments(order: Order<'_>, certificates: &Path) -> Vec<String> {
    let load = order.load;
    let mut arguments = vec!["load".to_owned(), "--json".to_owned()];
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    add("--target", order.target.to_string());
    add("--protocol", load.protocol.to_owned());
    add("--connections", load.connections.to_string());
    add("--streams", load.streams.to_string());
    add("--duration", order.seconds.to_string());
    if let Some(rate) = order.rate {
        add("--rate", format!("{rate:.0}"));
    }
    if let Some(path) = order.path.or(load.path) {
        add("--path", path.to_owned());
    }
    if load.body > 0 {
        add("--body-bytes", load.body.to_string());
    }
    if let Some(bytes) = load.answer {
        add("--expect-bytes", bytes.to_string());
    }
    if load.protocol.starts_with("tls-") {
        // The client's certificate is for the origin, when there is no proxy: a proxy here does not ask for one.
        for (flag, file) in [("--ca", "ca.pem"), ("--cert", "client.pem"), ("--key", "client.key")] {
            add(flag, certificates.join(file).display().to_string());
        }
    }
    // Echoes are compared in any case, and a stream has no bytes of its own.
    if !load.protocol.starts_with("tcp-") {
        arguments.push("--same-bytes".to_owned());
    }
    if load.ml_kem {
        arguments.push("--ml-kem".to_owned());
    }
    if load.fresh {
        arguments.push("--new-connection-per-request".to_owned());
    }
    arguments
}

/// Runs the generator; `midway` is called when most of the time is over, to look at what is under load.
pub fn send(world: &World, order: Order<'_>, midway: impl FnOnce()) -> io::Result<(Vec<String>, Outcome)> {
    let arguments = arguments(order, &world.certificates);
    let group = start(world, &arguments)?;
    let look = group.begun + Duration::from_secs_f64(order.seconds * 0.7);
    thread::sleep(look.saturating_duration_since(Instant::now()));
    midway();
    let (status, text) = group.finish(Duration::from_secs_f64(order.seconds) + GRACE)?;
    if !status.success() {
        return Err(failed(world, &status.to_string()));
    }
    let outcome = serde_json::from_str(&text).map_err(|error| failed(world, &error.to_string()))?;
    Ok((arguments, outcome))
}

/// Connections that the generator holds open.
#[derive(Debug)]
pub struct Holding {
    group: Group,
    /// The generator's arguments.
    pub command: Vec<String>,
    /// What it said when they were open.
    pub held: Held,
}

/// Opens idle connections, one request on each, and holds them until the value is dropped.
pub fn hold(world: &World, target: SocketAddr, load: Load, connections: u32) -> io::Result<Holding> {
    let order = Order { load, target, path: None, rate: None, seconds: 300.0 };
    let mut arguments = arguments(order, &world.certificates);
    arguments.extend(["--idle".to_owned(), connections.to_string()]);
    let mut group = start(world, &arguments)?;
    let mut line = String::new();
    let stdout = group.stdout().ok_or_else(|| io::Error::other("the generator's output is piped"))?;
    io::BufReader::new(stdout).read_line(&mut line)?;
    let held = serde_json::from_str(&line).map_err(|error| failed(world, &error.to_string()))?;
    Ok(Holding { group, command: arguments, held })
}

impl Holding {
    /// Lets the connections go and waits until the generator has ended.
    pub fn release(mut self) -> io::Result<()> {
        self.group.close_stdin();
        self.group.finish(GRACE).map(drop)
    }
}

fn start(world: &World, arguments: &[String]) -> io::Result<Group> {
    let mut command = Command::new(&world.program);
    command.args(arguments);
    Group::start(command, world.cores.of(Role::Generator), &world.folder.join("generator.log"), Output::Piped)
}

fn failed(world: &World, why: &str) -> io::Error {
    io::Error::other(format!("the generator failed ({why}): {}", last_words(&world.folder.join("generator.log"))))
}

#[cfg(test)]
mod tests {
    use super::{Order, arguments};
    use crate::compare::scenario::{Load, SMALL};
    use std::path::Path;

    fn words(load: Load, rate: Option<f64>, path: Option<&str>) -> String {
        let target = ([127, 0, 0, 1], 80).into();
        arguments(Order { load, target, path, rate, seconds: 1.5 }, Path::new("/c")).join(" ")
    }

    #[test]
    fn arguments_say_the_load() {
        assert_eq!(
            words(SMALL, Some(2000.0), Some("/r9/small")),
            "load --json --target 127.0.0.1:80 --protocol http1 --connections 32 --streams 1 --duration 1.5 --rate 2000 \
             --path /r9/small --expect-bytes 16 --same-bytes"
        );
        let tls = Load { protocol: "tls-http1", connections: 2, fresh: true, ..SMALL };
        assert_eq!(
            words(tls, None, None),
            "load --json --target 127.0.0.1:80 --protocol tls-http1 --connections 2 --streams 1 --duration 1.5 \
             --path /small --expect-bytes 16 --ca /c/ca.pem --cert /c/client.pem --key /c/client.key \
             --same-bytes --new-connection-per-request"
        );
    }
}
