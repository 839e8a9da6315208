//! Names that are random even between two direct runs, made alike. Nothing else is excused.

/// GCC's and binutils' `mkstemps(3)` names: `/tmp/ccAbCd12`.
const GCC: &[u8] = b"/tmp/cc";
/// The random letters of a name.
const LETTERS: usize = 6;

/// The text with the random parts of temporary files' names replaced: `/tmp/ccXXXXXX` of GCC, and Clang's
/// `/tmp/main-xxxxxx.o`.
pub(super) fn without_random_names(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(GCC) && rest[GCC.len()..].iter().take(LETTERS).all(u8::is_ascii_alphanumeric) {
            plain.extend_from_slice(b"/tmp/ccXXXXXX");
            at += GCC.len() + LETTERS;
        } else if let Some(length) = clangs_name(rest) {
            plain.extend_from_slice(&rest[..length - LETTERS]);
            plain.extend_from_slice(b"xxxxxx");
            at += length;
        } else {
            plain.push(rest[0]);
            at += 1;
        }
    }
    plain
}

/// The length of `/tmp/STEM-xxxxxx` at the beginning of `text`, when a dot follows it.
fn clangs_name(text: &[u8]) -> Option<usize> {
    let name = text.strip_prefix(b"/tmp/")?;
    let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"-_+".contains(byte))?;
    let dash = end.checked_sub(LETTERS + 1)?;
    let random = name[end] == b'.' && name[dash] == b'-' && name[dash + 1..end].iter().all(u8::is_ascii_hexdigit);
    random.then_some(b"/tmp/".len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_random_is_replaced() {
        let same: fn(&str) -> String = |text| String::from_utf8(without_random_names(text.as_bytes())).unwrap();

        assert_eq!(same("ld /tmp/ccAb12Cd.o /tmp/cc-1"), "ld /tmp/ccXXXXXX.o /tmp/cc-1");
        assert_eq!(same("ld /tmp/main-0af93b.o -o x"), "ld /tmp/main-xxxxxx.o -o x");
        assert_eq!(same("/tmp/a-file.o main-0af93b.o"), "/tmp/a-file.o main-0af93b.o");
    }
}
