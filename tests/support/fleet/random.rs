//! Numbers from a seed: the same on every machine, and for each object on its own, so that one more field in one kind
//! changes no other.

/// splitmix64.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of the object of this kind with this index.
    pub fn of(kind: &str, index: usize) -> Random {
        let mut seed = super::data::SEED ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in kind.bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut random = Random(seed);
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn uid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            b >> 48 & 0x3fff | 0x8000,
            b & 0xffff_ffff_ffff
        )
    }

    pub fn hex(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b"0123456789abcdef"[self.below(16)])).collect()
    }

    /// A suffix as Kubernetes makes them: without vowels (apimachinery `util/rand`).
    pub fn suffix(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b"bcdfghjklmnpqrstvwxz2456789"[self.below(27)])).collect()
    }
}
