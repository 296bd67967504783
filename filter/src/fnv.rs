//! FNV-1a, 64 bits: the same number for the same bytes in every worker, on every platform and in every build.
//!
//! It tells things apart, and is no defence against anyone. Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.

/// A hash that grows as bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fnv64(pub u64);

// === impl Fnv64 ===

impl Default for Fnv64 {
    fn default() -> Self {
        Fnv64(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv64 {
    /// With these behind.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |hash, byte| {
            Fnv64((hash.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of the source.
    #[test]
    fn known_hashes() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(Fnv64::default().bytes(text.as_bytes()).0, hash, "{text}");
        }
        let parts = Fnv64::default().bytes(b"foo").bytes(b"bar");
        assert_eq!(parts.0, 0x8594_4171_f739_67e8);
    }
}
