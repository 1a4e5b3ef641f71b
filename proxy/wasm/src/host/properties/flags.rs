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
    fn every_flag_has_a_bit_and_they_are_envoys() {
        for flag in ResponseFlag::ALL {
            assert!(CODES.contains(&flag.code()), "{}", flag.code());
        }
        let mut flags = ResponseFlags::default();
        flags.insert(ResponseFlag::UpstreamConnectionFailure);
        flags.insert(ResponseFlag::RetryLimitExceeded);
        assert_eq!(envoy(flags), 0x20 | 0x8000);
    }
}
