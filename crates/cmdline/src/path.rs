//! Paths as bytes: the few cuts that naming outputs needs.

/// What follows the last slash.
pub(crate) fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Everything up to and including the last slash; empty for a bare name.
pub(crate) fn directory(path: &[u8]) -> &[u8] {
    &path[..path.len() - basename(path).len()]
}

/// The path without the suffix of its last component: `out/x.y.o` becomes `out/x.y`. A leading dot is no suffix.
pub(crate) fn without_suffix(path: &[u8]) -> &[u8] {
    let name = basename(path);
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => &path[..path.len() - name.len() + dot],
        _ => path,
    }
}

/// The suffix of the last component, without its dot.
pub(crate) fn suffix(path: &[u8]) -> Option<&[u8]> {
    let stem = without_suffix(path);
    (stem.len() < path.len()).then(|| &path[stem.len() + 1..])
}

/// The stem of the last component: `a.b` of `dir/a.b.c`.
pub(crate) fn stem(path: &[u8]) -> &[u8] {
    without_suffix(basename(path))
}

/// The path in an option's value, if it has a directory: `tree-all=x/y`, `sarif:file=x/y,version=2.1`.
pub(crate) fn within(value: &[u8]) -> Option<&[u8]> {
    let slash = value.iter().position(|byte| *byte == b'/')?;
    let begin = value[..slash].iter().rposition(|byte| b"=:,".contains(byte)).map_or(0, |delimiter| delimiter + 1);
    value[begin..].split(|byte| *byte == b',').next()
}

/// One path out of its pieces.
pub(crate) fn join(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

/// Whether the name stands for the process's standard output.
pub(crate) fn is_standard_output(path: &[u8]) -> bool {
    matches!(path, b"-" | b"/dev/stdout" | b"/dev/fd/1" | b"/proc/self/fd/1" | b"/dev/stderr" | b"/dev/fd/2")
}

/// Whether the name stands for the process's standard input.
pub(crate) fn is_standard_input(path: &[u8]) -> bool {
    matches!(path, b"-" | b"/dev/stdin" | b"/dev/fd/0" | b"/proc/self/fd/0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_made_where_the_compilers_make_them() {
        assert_eq!(without_suffix(b"out.d/x"), b"out.d/x");
        assert_eq!(without_suffix(b"out/x.y.tmp"), b"out/x.y");
        assert_eq!(without_suffix(b".hidden"), b".hidden");
        assert_eq!(suffix(b"a/b.c++"), Some(&b"c++"[..]));
        assert_eq!(suffix(b"a.d/b"), None);
        assert_eq!(stem(b"dir/a.b.c"), b"a.b");
        assert_eq!(directory(b"dir/a"), b"dir/");
    }

    #[test]
    fn a_path_is_found_in_what_an_option_says() {
        assert_eq!(within(b"/tmp/x/"), Some(&b"/tmp/x/"[..]));
        assert_eq!(within(b"tree-optimized=out/t"), Some(&b"out/t"[..]));
        assert_eq!(within(b"sarif:file=/tmp/a=b,version=2.1"), Some(&b"/tmp/a=b"[..]));
        assert_eq!(within(b"tree-all"), None);
    }
}
