//! What jobs took before, as the bytes of a file: from one server to the next.
//!
//! Format, version 1: the line `distccd history 1`, a digest (8 bytes, little endian) of that line and all that follows
//! it, the entries. It holds digests, durations and sizes, no names.

use model::ids::fnv1a;
use scheduler_core::HistoryEntry;

use crate::chain;
use crate::codec::Record;
use crate::replay::whole;

/// The first line of every history.
const HEADER: &[u8] = b"distccd history 1\n";

/// These bytes are no history that this server can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// They begin with something else, or are of another version.
    #[error("this is no history of version 1")]
    NotAHistory,
    /// They are not those that were written, or not all of them.
    #[error("the history is damaged: its bytes are not those that were written")]
    Damaged,
}

/// The entries as bytes, in their order.
#[must_use]
pub fn encode_history(entries: &[HistoryEntry]) -> Vec<u8> {
    let mut payload = Vec::new();
    entries.to_vec().put(&mut payload);
    let digest = chain(fnv1a(HEADER), &payload);
    [HEADER, &digest.to_le_bytes(), &payload].concat()
}

/// The entries that [`encode_history`] was given.
///
/// # Errors
/// When the bytes are of something else, or not all that was written.
pub fn decode_history(bytes: &[u8]) -> Result<Vec<HistoryEntry>, HistoryError> {
    let rest = bytes.strip_prefix(HEADER).ok_or(HistoryError::NotAHistory)?;
    let (digest, payload) = rest.split_first_chunk::<8>().ok_or(HistoryError::Damaged)?;
    if chain(fnv1a(HEADER), payload) != u64::from_le_bytes(*digest) {
        return Err(HistoryError::Damaged);
    }
    whole(payload).map_err(|_| HistoryError::Damaged)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entries() -> Vec<HistoryEntry> {
        let entry = |key, micros, memory| HistoryEntry { key, duration: Duration::from_micros(micros), memory };
        vec![entry(u64::MAX, 1, 0), entry(0, 0, u64::MAX), entry(7, 3_000_001, 1 << 30)]
    }

    #[test]
    fn a_history_comes_back_as_it_was_and_in_its_order() {
        assert_eq!(decode_history(&encode_history(&entries())), Ok(entries()));
        assert_eq!(decode_history(&encode_history(&[])), Ok(Vec::new()));
    }

    #[test]
    fn every_bit_that_changed_and_every_byte_that_is_missing_is_noticed() {
        let whole = encode_history(&entries());

        for length in 0..whole.len() {
            assert!(decode_history(&whole[..length]).is_err(), "the first {length} bytes");
        }
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_history(&changed).is_err(), "bit {bit}");
        }
        assert!(decode_history(&[&whole[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_history_of_a_later_version_is_none() {
        let later = [b"distccd history 2\n", &encode_history(&entries())[HEADER.len()..]].concat();

        assert_eq!(decode_history(&later), Err(HistoryError::NotAHistory));
    }
}
