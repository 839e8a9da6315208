//! The small binary format of what is kept between runs: a magic, numbers, byte strings, and a digest of it all at the end,
//! so that a torn or damaged file is known for one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::mark::{Mark, Seen};

pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(magic: &[u8; 8]) -> Self {
        Self(magic.to_vec())
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn mark(&mut self, mark: &Mark) {
        self.number(mark.device);
        self.number(mark.inode);
        self.number(mark.size);
        self.raw(&mark.modified_ns.to_le_bytes());
        self.raw(&mark.changed_ns.to_le_bytes());
    }

    pub(crate) fn seen(&mut self, all: &[Seen]) {
        self.number(all.len() as u64);
        for seen in all {
            self.string(seen.path.as_os_str().as_bytes());
            self.number(seen.mark.is_some().into());
            seen.mark.iter().for_each(|mark| self.mark(mark));
        }
    }

    pub(crate) fn sealed(mut self) -> Vec<u8> {
        let seal = blake3::hash(&self.0);
        self.raw(&seal.as_bytes()[..16]);
        self.0
    }
}

pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader behind the magic, if the seal is good.
    pub(crate) fn unsealed(bytes: &'a [u8], magic: &[u8; 8]) -> Option<Self> {
        let (content, seal) = bytes.split_last_chunk::<16>()?;
        let is_whole = blake3::hash(content).as_bytes()[..16] == seal[..];
        content.strip_prefix(magic).filter(|_| is_whole).map(Self)
    }

    pub(crate) fn raw<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (head, rest) = self.0.split_first_chunk::<LENGTH>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.raw().map(u64::from_le_bytes)
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.string()?.to_vec()).ok()
    }

    pub(crate) fn mark(&mut self) -> Option<Mark> {
        Some(Mark {
            device: self.number()?,
            inode: self.number()?,
            size: self.number()?,
            modified_ns: self.raw().map(i64::from_le_bytes)?,
            changed_ns: self.raw().map(i64::from_le_bytes)?,
        })
    }

    pub(crate) fn seen(&mut self) -> Option<Vec<Seen>> {
        let count = self.number()?;
        (0..count).map(|_| self.one_seen()).collect()
    }

    fn one_seen(&mut self) -> Option<Seen> {
        let path = PathBuf::from(OsStr::from_bytes(self.string()?));
        let mark = if self.number()? == 0 { None } else { Some(self.mark()?) };
        Some(Seen { path, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mark = Mark { device: 1, inode: 2, size: 3, modified_ns: -4, changed_ns: i64::MAX };
        let seen = [
            Seen { path: OsStr::from_bytes(b"/\xff").into(), mark: Some(mark) },
            Seen { path: "/b".into(), mark: None },
        ];
        let mut writer = Writer::new(b"12345678");
        writer.number(9);
        writer.string("text".as_bytes());
        writer.seen(&seen);

        let bytes = writer.sealed();
        let mut reader = Reader::unsealed(&bytes, b"12345678").unwrap();

        assert_eq!(reader.number(), Some(9));
        assert_eq!(reader.text().as_deref(), Some("text"));
        assert_eq!(reader.seen().unwrap(), seen);
        assert_eq!(reader.number(), None);
        assert!(Reader::unsealed(&bytes, b"12345679").is_none());
    }

    #[test]
    fn a_length_beyond_the_end_is_no_string() {
        let mut writer = Writer::new(b"12345678");
        writer.number(u64::MAX);
        let bytes = writer.sealed();

        assert_eq!(Reader::unsealed(&bytes, b"12345678").unwrap().string(), None);
    }
}
