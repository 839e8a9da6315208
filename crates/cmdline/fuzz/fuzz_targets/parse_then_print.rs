//! Parse, then print: the identity, whatever the bytes. Arguments are parted by NUL; the first one is what every
//! response file holds. Run with `cargo +nightly fuzz run parse_then_print`.

#![no_main]

use libfuzzer_sys::fuzz_target;

struct OneText(Vec<u8>);

impl cmdline::Files for OneText {
    fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        (!path.starts_with(b"no")).then(|| self.0.clone())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut args: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let text = args.remove(0);
    cmdline::check_parse_then_print(&args, &OneText(text));
});
