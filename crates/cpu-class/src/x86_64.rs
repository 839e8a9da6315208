//! The `cpuid` instruction (Intel SDM volume 2A, "CPUID"; AMD APM volume 3, appendix E).

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv, CpuidResult};

/// Leaf 7, `edx`: cores of more than one kind.
const HYBRID: u32 = 1 << 15;
/// Leaf 1, `ecx`: the system saves wide registers, and `xgetbv` says which.
const OSXSAVE: u32 = 1 << 27;
/// Leaf 1, `ecx`: a hypervisor is there, which no compiler asks.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, `ebx`: the size of a cache line; the rest numbers the core.
const CLFLUSH: u32 = 0xff00;
/// Leaves 4 and 0x8000_001d, `eax`: type and level of a cache; the rest counts the cores that share it.
const CACHE_KIND: u32 = 0x3fff;
/// No processor has more levels and kinds of caches.
const MOST_CACHES: u32 = 16;

/// Everything that a compiler would ask, in a fixed order.
pub(crate) fn answers() -> Option<Vec<u8>> {
    let mut book = Book { words: Vec::with_capacity(96) };
    let highest = __cpuid(0).eax;
    let leaf = |number, sub| if number <= highest { __cpuid_count(number, sub) } else { NOTHING };
    if leaf(7, 0).edx & HYBRID != 0 {
        return None;
    }
    book.all(__cpuid(0));
    let first = leaf(1, 0);
    book.enter(&[first.eax, first.ebx & CLFLUSH, first.ecx & !HYPERVISOR, first.edx]);
    for (number, sub) in [(2, 0), (7, 0), (7, 1), (7, 2), (0x14, 0), (0x19, 0), (0x1e, 0), (0x1e, 1), (0x24, 0)] {
        book.all(leaf(number, sub));
    }
    // `ebx` of leaf 0xd tells how much is saved at present.
    let (state, more) = (leaf(0xd, 0), leaf(0xd, 1));
    book.enter(&[state.eax, state.edx, more.eax]);
    book.caches(|sub| leaf(4, sub));
    book.extended();
    if first.ecx & OSXSAVE != 0 {
        // SAFETY: `xgetbv` exists where the system has announced it by OSXSAVE, and register 0 always does.
        let enabled = unsafe { _xgetbv(0) };
        book.words.push(enabled as u32);
    }
    Some(book.words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

const NOTHING: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

struct Book {
    words: Vec<u32>,
}

impl Book {
    fn enter(&mut self, words: &[u32]) {
        self.words.extend_from_slice(words);
    }

    fn all(&mut self, answer: CpuidResult) {
        self.enter(&[answer.eax, answer.ebx, answer.ecx, answer.edx]);
    }

    fn caches(&mut self, leaf: impl Fn(u32) -> CpuidResult) {
        let caches = (0..MOST_CACHES).map(leaf).take_while(|cache| cache.eax & 0x1f != 0);
        caches.for_each(|cache| self.enter(&[cache.eax & CACHE_KIND, cache.ebx, cache.ecx, cache.edx]));
    }

    fn extended(&mut self) {
        let highest = __cpuid(0x8000_0000).eax;
        let leaf = |number, sub| if number <= highest { __cpuid_count(number, sub) } else { NOTHING };
        for number in [0x8000_0001, 0x8000_0005, 0x8000_0006, 0x8000_0021] {
            self.all(leaf(number, 0));
        }
        self.enter(&[leaf(0x8000_0008, 0).ebx]);
        self.caches(|sub| leaf(0x8000_001d, sub));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_the_same_when_asked_again() {
        let first = answers();

        assert_eq!(first, answers());
        assert!(first.is_none_or(|answers| answers.len() > 100));
    }
}
