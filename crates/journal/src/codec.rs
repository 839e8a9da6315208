//! Values as bytes: numbers in 7-bit groups, lists after their length, enums after a tag. Whatever comes in, reading
//! neither panics nor allocates more than there are bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// These bytes are no such value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

/// Bytes still to be read.
#[derive(Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], Undecodable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Undecodable)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A value that can be written and read back.
pub(crate) trait Record: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable>;
}

impl Record for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        Ok(from.take(1)?[0])
    }
}

impl Record for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut left = *self;
        while left >= 0x80 {
            out.push(left as u8 | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(u8::get(from)?);
            value |= (byte & 0x7f).checked_shl(shift).ok_or(Undecodable)?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Undecodable)
    }
}

impl Record for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        u64::from(*self).put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        Self::try_from(u64::get(from)?).map_err(|_| Undecodable)
    }
}

impl Record for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        Self::try_from(u64::get(from)?).map_err(|_| Undecodable)
    }
}

impl Record for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        match u8::get(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Undecodable),
        }
    }
}

impl Record for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        let length = usize::get(from)?;
        Self::from_utf8(from.take(length)?.to_vec()).map_err(|_| Undecodable)
    }
}

/// To the nanosecond, as the scheduler may compare durations.
impl Record for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_secs().put(out);
        self.subsec_nanos().put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        let (seconds, nanos) = (u64::get(from)?, u32::get(from)?);
        if nanos >= 1_000_000_000 {
            return Err(Undecodable);
        }
        Ok(Self::new(seconds, nanos))
    }
}

impl Record for [u8; 16] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        from.take(16)?.try_into().map_err(|_| Undecodable)
    }
}

impl<T: Record> Record for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        self.iter().for_each(|item| item.put(out));
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        // Grown as items come: the length alone is not believed.
        let length = usize::get(from)?;
        (0..length).map(|_| T::get(from)).collect()
    }
}

/// In the order of the keys, so equal maps are equal bytes.
impl<K: Record + Ord, V: Record> Record for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        let length = usize::get(from)?;
        (0..length).map(|_| Ok((K::get(from)?, V::get(from)?))).collect()
    }
}

/// In order, so equal sets are equal bytes.
impl<T: Record + Ord> Record for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        self.iter().for_each(|item| item.put(out));
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        let length = usize::get(from)?;
        (0..length).map(|_| T::get(from)).collect()
    }
}

impl<T: Record> Record for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.iter().for_each(|item| item.put(out));
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        if bool::get(from)? { T::get(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Record, E: Record> Record for Result<T, E> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_ok().put(out);
        match self {
            Ok(value) => value.put(out),
            Err(error) => error.put(out),
        }
    }

    fn get(from: &mut Bytes<'_>) -> Result<Self, Undecodable> {
        if bool::get(from)? { T::get(from).map(Ok) } else { E::get(from).map(Err) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_whatever_their_size() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            number.put(&mut out);

            assert_eq!(u64::get(&mut Bytes(&out)), Ok(number));
        }
    }

    #[test]
    fn a_length_that_promises_too_much_is_not_believed() {
        let mut out = Vec::new();
        u64::MAX.put(&mut out);

        assert_eq!(Vec::<u8>::get(&mut Bytes(&out)), Err(Undecodable));
        assert_eq!(String::get(&mut Bytes(&out)), Err(Undecodable));
    }

    #[test]
    fn a_number_of_too_many_groups_is_none() {
        assert_eq!(u64::get(&mut Bytes(&[0xff; 11])), Err(Undecodable));
    }
}
