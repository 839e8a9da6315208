//! Histories that the scheduler lives through, and a reference model too; see `tests/reference`. `cargo xtask fuzz
//! --target=histories` runs it.

#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reference::live_through(bytes));
