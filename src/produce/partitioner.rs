//! Key → partition, as the other clients do it, so that they agree on where a key lives.
//!
//! Pure: randomness is an argument. A record without a key stays on one partition until a batch of it is full and goes
//! on at another then: one large batch costs the broker far less than many small ones.

/// How a record's partition is found, where the input names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// By the key's murmur2, as the Java client; sticky without a key.
    #[default]
    Murmur2,
    /// By the key's CRC-32, as librdkafka's `consistent_random` (and so kcat) does; sticky without a key or with an
    /// empty one.
    Crc32,
    /// Sticky whatever the key.
    Sticky,
    /// At random, each record anew, whatever the key.
    Random,
}

/// The partitions of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Partitions<'a> {
    /// How many there are; at least 1. A key's partition is found among all of them.
    pub count: u32,
    /// Those that have a leader: a record that may go anywhere goes to one of these; to any of all if this is empty.
    pub available: &'a [i32],
}

/// Chooses partitions for the records of one topic.
#[derive(Debug, Clone)]
pub struct Partitioner {
    strategy: Strategy,
    sticky: Option<i32>,
    /// The partition that stuck before, which the next one differs from where it can.
    left: Option<i32>,
}

impl Partitioner {
    /// A partitioner that has not stuck to any partition yet.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            sticky: None,
            left: None,
        }
    }

    /// The partition of the next record. `random` gives 64 random bits and is called only where chance decides.
    pub fn partition(&mut self, key: Option<&[u8]>, of: Partitions<'_>, random: impl FnOnce() -> u64) -> i32 {
        match (self.strategy, key) {
            // Whatever the hash is.
            (Strategy::Murmur2 | Strategy::Crc32, Some(_)) if of.count == 1 => 0,
            (Strategy::Murmur2, Some(key)) => murmur2_partition(key, of.count),
            (Strategy::Crc32, Some(key)) if !key.is_empty() => crc32_partition(key, of.count),
            (Strategy::Random, _) => any(of, None, random()),
            _ => self.stick(of, random),
        }
    }

    /// A batch of `partition` is full: records without a key go on at another.
    pub fn batch_is_full(&mut self, partition: i32) {
        if self.sticky == Some(partition) {
            self.left = self.sticky.take();
        }
    }

    #[inline]
    fn stick(&mut self, of: Partitions<'_>, random: impl FnOnce() -> u64) -> i32 {
        match self.sticky {
            Some(partition) if of.available.is_empty() || of.available.contains(&partition) => partition,
            before => {
                let partition = any(of, before.or(self.left), random());
                self.sticky = Some(partition);
                partition
            }
        }
    }
}

/// One of the available partitions by chance, another than `not` where there is another.
fn any(of: Partitions<'_>, not: Option<i32>, random: u64) -> i32 {
    let among = |count: u64| usize::try_from(random % count.max(1)).unwrap_or(0);
    if of.available.is_empty() {
        return i32::try_from(random % u64::from(of.count.max(1))).unwrap_or(0);
    }
    let others = of
        .available
        .iter()
        .filter(|&&partition| Some(partition) != not)
        .count();
    if others == 0 {
        return of.available[among(of.available.len() as u64)];
    }
    let mut others_left = of.available.iter().filter(|&&partition| Some(partition) != not);
    others_left.nth(among(others as u64)).copied().unwrap_or(0)
}

/// The Java client's partition of a key among `count` (at least 1).
#[must_use]
pub fn murmur2_partition(key: &[u8], count: u32) -> i32 {
    // Java's `toPositive` clears the sign bit, which is not the absolute value.
    i32::try_from((murmur2(key) & 0x7fff_ffff) % count.max(1)).unwrap_or(0)
}

/// librdkafka's partition of a key among `count` (at least 1).
#[must_use]
pub fn crc32_partition(key: &[u8], count: u32) -> i32 {
    i32::try_from(crc32fast::hash(key) % count.max(1)).unwrap_or(0)
}

/// Kafka's murmur2 of 32 bits with its own seed.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // The length is an int in Java, and wraps as one.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "keys are far below 4 GiB, and the hash wraps by design"
    )]
    let length = data.len() as u32;
    let mut h = SEED ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, &byte) in tail.iter().enumerate() {
            h ^= u32::from(byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(count: u32, available: &[i32]) -> Partitions<'_> {
        Partitions { count, available }
    }

    #[test]
    fn murmur2_agrees_with_kafkas_own_vectors() {
        let vectors: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key).cast_signed(), hash, "{key:?}");
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_bit() {
        assert_eq!(murmur2_partition(b"21", 6), (-973_932_308_i32 & 0x7fff_ffff) % 6);
    }

    #[test]
    fn crc32_is_the_one_of_zlib() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(
            crc32_partition(b"123456789", 7),
            i32::try_from(0xcbf4_3926_u32 % 7).unwrap()
        );
    }

    #[test]
    fn a_key_stays_where_it_is_even_without_a_leader() {
        for strategy in [Strategy::Murmur2, Strategy::Crc32] {
            let mut partitioner = Partitioner::new(strategy);
            let with = partitioner.partition(Some(b"foobar"), all(6, &[0, 1, 2, 3, 4, 5]), || {
                panic!("no chance here")
            });
            let without = partitioner.partition(Some(b"foobar"), all(6, &[]), || panic!("no chance here"));
            assert_eq!(with, without);
        }
    }

    #[test]
    fn an_empty_key_is_hashed_by_java_and_none_to_librdkafka() {
        let of = all(6, &[5]);
        let java = Partitioner::new(Strategy::Murmur2).partition(Some(b""), of, || panic!("no chance here"));
        assert_eq!(java, murmur2_partition(b"", 6));
        assert_eq!(
            Partitioner::new(Strategy::Crc32).partition(Some(b""), of, || 3),
            5
        );
    }

    #[test]
    fn keyless_records_stick_until_their_batch_is_full_and_then_go_elsewhere() {
        let of = all(3, &[0, 1, 2]);
        for strategy in [Strategy::Murmur2, Strategy::Crc32, Strategy::Sticky] {
            let mut partitioner = Partitioner::new(strategy);
            let first = partitioner.partition(None, of, || 1);
            assert_eq!(partitioner.partition(None, of, || panic!("still sticky")), first);
            partitioner.batch_is_full(first + 1);
            assert_eq!(
                partitioner.partition(None, of, || panic!("another's batch")),
                first
            );
            partitioner.batch_is_full(first);
            for chance in 0..20 {
                assert_ne!(partitioner.clone().partition(None, of, || chance), first);
            }
        }
    }

    #[test]
    fn keyless_records_avoid_partitions_without_a_leader() {
        let mut partitioner = Partitioner::new(Strategy::Murmur2);
        for chance in 0..20 {
            let partition = partitioner.partition(None, all(6, &[1, 4]), || chance);
            assert!([1, 4].contains(&partition));
            partitioner.batch_is_full(partition);
        }
        let stuck = partitioner.partition(None, all(6, &[1, 4]), || 0);
        assert_ne!(
            partitioner.partition(None, all(6, &[5]), || 0),
            stuck,
            "its leader is gone"
        );
    }

    #[test]
    fn without_any_leader_a_partition_is_chosen_nevertheless() {
        let chosen = Partitioner::new(Strategy::Random).partition(None, all(4, &[]), || 7);
        assert_eq!(chosen, 3);
        assert_eq!(
            Partitioner::new(Strategy::Sticky).partition(None, all(1, &[0]), || 9),
            0
        );
    }

    #[test]
    fn random_spreads_and_ignores_keys() {
        let mut partitioner = Partitioner::new(Strategy::Random);
        let spread: Vec<i32> = (0..4)
            .map(|chance| partitioner.partition(Some(b"k"), all(4, &[0, 1, 2, 3]), || chance))
            .collect();
        assert_eq!(spread, [0, 1, 2, 3]);
    }
}
