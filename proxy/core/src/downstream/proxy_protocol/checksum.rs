//! CRC32c (RFC 9260 appendix A) of a header, its own field taken for zeros (§2.2.3). Pure.
//!
//! Bit by bit: a header is seldom longer than a hundred bytes and comes once for each connection, so that a library's tables would be all cost.

/// The Castagnoli polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of `header`, whose four bytes from `at` on hold it.
pub(super) fn of(header: &[u8], at: usize) -> u32 {
    let field = at..at + 4;
    let masked = header.iter().enumerate().map(|(place, &byte)| if field.contains(&place) { 0 } else { byte });
    !masked.fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_known_values_come_out() {
        // RFC 3720 appendix B.4; the last four bytes are those of no test vector there, so all stand before the field.
        let vector = |bytes: &[u8]| super::of(bytes, bytes.len());
        assert_eq!(vector(&[0; 32]), 0x8a91_36aa);
        assert_eq!(vector(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(vector(b"123456789"), 0xe306_9283);
        assert_eq!(super::of(b"12\x9934\xaa\xbb\xcc\xdd", 5), vector(b"12\x9934\0\0\0\0"));
    }
}
