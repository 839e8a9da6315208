//! What jobs took before, as the bytes of a file: from one server to the next.
//!
//! Format, version 2: the line `distccd history 2`, a digest (8 bytes, little endian) of that line and all that follows
//! it, the entries. It holds digests, durations and sizes, no names. A history of version 1, whose
//! entries do not say who reads an output, is read too.

use core::time::Duration;

use model::ids::fnv1a;
use scheduler_core::HistoryEntry;

use crate::chain;
use crate::codec::Record;
use crate::replay::whole;

/// The first line of every history.
const HEADER: &[u8] = b"distccd history 2\n";
/// That of the version before.
const FIRST_HEADER: &[u8] = b"distccd history 1\n";

/// An entry of version 1.
#[derive(Debug)]
pub(crate) struct FirstEntry {
    pub(crate) key: u64,
    pub(crate) duration: Duration,
    pub(crate) memory: u64,
}

/// These bytes are no history that this server can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// They begin with something else, or are of another version.
    #[error("this is no history of version 1 or 2")]
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
    if bytes.starts_with(FIRST_HEADER) {
        let entries: Vec<FirstEntry> = payload(bytes, FIRST_HEADER)?;
        let of_now = |FirstEntry { key, duration, memory }| HistoryEntry { key, duration, memory, reader: 0 };
        return Ok(entries.into_iter().map(of_now).collect());
    }
    payload(bytes, HEADER)
}

fn payload<T: Record>(bytes: &[u8], header: &[u8]) -> Result<T, HistoryError> {
    let rest = bytes.strip_prefix(header).ok_or(HistoryError::NotAHistory)?;
    let (digest, payload) = rest.split_first_chunk::<8>().ok_or(HistoryError::Damaged)?;
    if chain(fnv1a(header), payload) != u64::from_le_bytes(*digest) {
        return Err(HistoryError::Damaged);
    }
    whole(payload).map_err(|_| HistoryError::Damaged)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entries() -> Vec<HistoryEntry> {
        let entry = |key, micros, memory, reader| {
            let duration = Duration::from_micros(micros);
            HistoryEntry { key, duration, memory, reader }
        };
        vec![entry(u64::MAX, 1, 0, 0), entry(0, 0, u64::MAX, 7), entry(7, 3_000_001, 1 << 30, u64::MAX)]
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
    fn a_history_of_the_version_before_is_read() {
        let mut payload = Vec::new();
        vec![FirstEntry { key: 7, duration: Duration::from_secs(3), memory: 1 << 30 }].put(&mut payload);
        let digest = chain(fnv1a(FIRST_HEADER), &payload);

        let entries = decode_history(&[FIRST_HEADER, &digest.to_le_bytes(), &payload].concat());

        let entry = HistoryEntry { key: 7, duration: Duration::from_secs(3), memory: 1 << 30, reader: 0 };
        assert_eq!(entries, Ok(vec![entry]));
    }

    #[test]
    fn a_history_of_a_later_version_is_none() {
        let later = [b"distccd history 3\n", &encode_history(&entries())[HEADER.len()..]].concat();

        assert_eq!(decode_history(&later), Err(HistoryError::NotAHistory));
    }
}
