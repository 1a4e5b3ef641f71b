//! Response flags as Envoy's filters read them: bits of a number.

use pillion_core::telemetry::ResponseFlags;

/// The bit of each short code (Envoy's `CoreResponseFlag`, in its order).
const CODES: [&str; 29] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR",
];

/// The flags as one number.
pub(super) fn envoy(flags: ResponseFlags) -> u64 {
    let bit = |code: &str| CODES.iter().position(|known| *known == code).map_or(0, |at| 1 << at);
    flags.iter().fold(0, |all, flag| all | bit(flag.code()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_core::telemetry::ResponseFlag;

    #[test]
    fn bits_are_envoys() {
        let unknown: Vec<_> =
            ResponseFlag::ALL.iter().map(|flag| flag.code()).filter(|code| !CODES.contains(code)).collect();
        assert_eq!(unknown, ["FF"], "Pillion's own");
        let mut flags = ResponseFlags::default();
        flags.insert(ResponseFlag::UpstreamConnectionFailure);
        flags.insert(ResponseFlag::RetryLimitExceeded);
        assert_eq!(envoy(flags), 0x20 | 0x8000);
    }
}
