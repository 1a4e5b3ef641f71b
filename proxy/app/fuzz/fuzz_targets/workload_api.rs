//! What an agent of the Workload API says: never panics, whatever is read lies within the message, cuts change nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "it is read with the eyes of one of its users")]
#[path = "../../src/workload_api/wire.rs"]
mod wire;

use wire::{BundlesResponse, MAX_MESSAGE, SvidResponse, elements, frame};

/// Whether a part lies within the whole.
fn within(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.as_ptr_range().start <= part.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end
}

fuzz_target!(|input: &[u8]| {
    // A stream of frames, cut anywhere: a whole frame is found in every longer prefix, at the same place.
    let found = frame(input);
    if let Ok(Some(range)) = &found {
        assert!(range.start == 5 && range.end <= input.len() && range.len() <= MAX_MESSAGE);
        assert_eq!(frame(&input[..range.end]).as_ref(), Ok(&Some(range.clone())));
        assert_eq!(frame(&input[..range.end - 1]), Ok(None));
    }
    let message = match found {
        Ok(Some(range)) => &input[range],
        Ok(None) | Err(_) => input,
    };
    if let Ok(response) = SvidResponse::read(message) {
        for svid in &response.svids {
            assert!([svid.id.as_bytes(), svid.chain, svid.key, svid.bundle, svid.hint.as_bytes()]
                .iter()
                .all(|part| within(message, part)));
            for der in [svid.chain, svid.bundle] {
                let Some(all) = elements(der) else { continue };
                assert_eq!(all.concat(), der, "nothing is left out and nothing twice");
                assert!(all.iter().all(|one| one.len() >= 2 && one[0] == 0x30));
            }
        }
        assert!(response.federated.iter().all(|(id, roots)| within(message, id.as_bytes()) && within(message, roots)));
        // Nothing of a key is told.
        assert!(!format!("{response:?}").contains("chain"));
        // Messages of protobuf can be put behind each other: repeated fields add up.
        let twice = [message, message].concat();
        let again = SvidResponse::read(&twice).expect("what is read once is read twice");
        assert_eq!(again.svids.len(), 2 * response.svids.len());
        assert_eq!(again.federated.len(), 2 * response.federated.len());
    }
    if let Ok(response) = BundlesResponse::read(message) {
        assert!(response.bundles.iter().all(|(id, roots)| within(message, id.as_bytes()) && within(message, roots)));
    }
});
