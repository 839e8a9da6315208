//! Parse, then print: the identity, whatever the bytes; see `src/fuzzing.rs`. `cargo xtask fuzz` runs it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cmdline::check_parse_then_print(bytes));
