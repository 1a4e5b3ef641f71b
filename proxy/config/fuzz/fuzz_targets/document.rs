//! Any bytes as a configuration: an answer with a place, soon, never a panic; and the same answer twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_config::{SourceName, parse, template::Template};
use std::{io, path::Path};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Template::parse(text);
    let read = |path: &Path| match path.to_str() {
        Some("there") => Ok(b"a body".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let name = SourceName::new("fuzz.yaml");
    match (parse(&name, text, &read), parse(&name, text, &read)) {
        (Ok(first), Ok(second)) => assert_eq!(first.config, second.config),
        (Err(first), Err(second)) => {
            assert_eq!(first, second);
            assert!(first.iter().all(|error| error.line > 0 && !error.message.is_empty()));
        }
        _ => panic!("two answers to one document"),
    }
});
