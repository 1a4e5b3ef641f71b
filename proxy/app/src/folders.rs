//! Folders that the proxy makes files in: of those that are not there an operator hears before it starts.
//!
//! Only `check` looks: where the proxy itself starts, opening the file says the same, and `check` may run on another machine.

use pillion_config::model::{AdminAddress, Config, LogDestination};
use std::path::Path;

/// What to tell an operator of each folder that is missing here.
pub fn missing(config: &Config) -> impl Iterator<Item = String> {
    let log = config.access_log.as_ref().and_then(|log| match &log.destination {
        LogDestination::File(path) => Some(("access_log", path.as_path())),
        LogDestination::Stdout => None,
    });
    let admin = config.admin.address.as_ref().and_then(|address| match address {
        AdminAddress::Unix(path) => Some(("admin.address", path.as_path())),
        AdminAddress::Tcp(_) => None,
    });
    log.into_iter().chain(admin).filter_map(|(field, file)| {
        let folder = match file.parent()? {
            here if here == Path::new("") => Path::new("."),
            folder => folder,
        };
        (!folder.is_dir()).then(|| {
            format!("{field}: there is no folder {} here: make it, or the proxy does not start", folder.display())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::missing;
    use pillion_config::{SourceName, parse};
    use std::io;

    const WEB: &str = "listeners: [{ name: web, address: 127.0.0.1:1, routes: [{ match: { prefix: / }, respond: { status: 200 } }] }]";

    fn told(log: &str, socket: &str) -> Vec<String> {
        let text = format!("admin: {{ address: 'unix:{socket}' }}\naccess_log: {{ path: '{log}' }}\n{WEB}");
        let none = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
        let loaded = parse(&SourceName::new("test"), &text, &none).unwrap_or_else(|errors| panic!("{errors}"));
        missing(&loaded.config).collect()
    }

    #[test]
    fn folders_that_are_not_there_are_named() {
        assert_eq!(told("/tmp/access.log", "/tmp/admin.sock"), Vec::<String>::new());
        let told = told("/no/such/access.log", "/nor/this/admin.sock");
        assert!(told.len() == 2 && told[0].contains("/no/such ") && told[1].contains("/nor/this "), "{told:?}");
    }
}
