//! `ld-launcher`: in front of a linker. See `launcher_kit`, which does all of it for either launcher.
//!
//! It begins at C's `main`: Rust's own start-up would open `/dev/null` for a standard stream that is closed, and the
//! compiler that we become would not notice what it must notice.

#![no_main]

use std::ffi::{c_char, c_int};

/// C's entry point.
///
/// # Safety
/// Called once, by the C runtime, with the vector that `execve(2)` made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    // SAFETY: the C runtime hands over `count` pointers to strings that live as long as the process.
    let argv = unsafe { launcher_kit::arguments(count, words) };
    launcher_kit::main("ld-launcher", &argv)
}
