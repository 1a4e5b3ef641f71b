//! What an API server says about EndpointSlices: never panics, nothing but a list is a list, and a watch's lines are the same
//! however the stream is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "it is read with the eyes of one of its users")]
#[path = "../../src/discovery/lines.rs"]
mod lines;
#[allow(dead_code, reason = "it is read with the eyes of one of its users")]
#[path = "../../src/discovery/wire.rs"]
mod wire;

use lines::{Lines, TooLong};
use wire::{Event, event, page};

fn text<'a>(value: &'a serde_json::Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str()
}

/// All lines of a stream that comes in these pieces.
fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, ()> {
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines
            .feed(piece, |line| {
                all.push(line.to_vec());
                Ok::<_, TooLong>(())
            })
            .map_err(drop)?;
    }
    Ok(all)
}

fuzz_target!(|input: &[u8]| {
    if let Ok(page) = page(input) {
        assert!(!page.version.is_empty() && page.next.as_deref() != Some(""));
        assert!(page.items.iter().all(|item| !item.metadata.name.is_empty()));
        // A second reader sees the same list; it also looks at what is passed over, which need not be UTF-8.
        if let Ok(value @ serde_json::Value::Object(_)) = serde_json::from_slice(input) {
            assert_eq!(text(&value, "/kind"), Some("EndpointSliceList"));
            if value["metadata"].is_object() {
                assert_eq!(text(&value, "/metadata/resourceVersion"), Some(&*page.version));
            }
            assert_eq!(value["items"].as_array().map_or(0, Vec::len), page.items.len());
        }
    }
    match event(input) {
        Ok(Event::Set(slice, version)) => {
            assert!(!slice.metadata.name.is_empty() && slice.metadata.resource_version == version && !version.is_empty());
        }
        Ok(Event::Gone(name, version)) => assert!(!name.is_empty() && !version.is_empty()),
        Ok(Event::Bookmark(version)) => assert!(!version.is_empty()),
        Ok(Event::Error(..)) | Err(_) => {}
    }
    // No beginning of an answer is one: a connection that breaks off empties no cluster.
    let trimmed = input.trim_ascii();
    if let Some((last, rest)) = trimmed.split_last() {
        if page(trimmed).is_ok() {
            assert!(page(rest).is_err());
        }
        if event(trimmed).is_ok() {
            assert!(event(rest).is_err());
        }
        let at = usize::from(*last) % (input.len() + 1);
        assert_eq!(cut([input]), cut([&input[..at], &input[at..]]));
        assert_eq!(cut([input]), cut(input.chunks(1)));
    }
});
