//! Prints the parts of a toolchain, and what it costs to find them out and to look them up.
//!
//! `cargo run --release -p toolchain --example identify -- /usr/bin/x86_64-linux-gnu-g++-12`

use std::path::Path;
use std::time::Instant;

use toolchain::{Cache, Digests, Identity};

const LOOKS: u32 = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for program in std::env::args_os().skip(1) {
        let program = std::fs::canonicalize(program)?;
        measure(&program)?;
    }
    Ok(())
}

fn measure(program: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let digests = Digests::default();
    let begun = Instant::now();
    let identity = Identity::of(program, &digests)?;
    let cold = begun.elapsed();
    let begun = Instant::now();
    Identity::of(program, &digests)?;
    let again = begun.elapsed();
    let begun = Instant::now();
    assert!(identity.changed_behind().is_none());
    let thorough = begun.elapsed();
    for part in identity.known().parts() {
        println!("  {:016x} {}", part.code(), part.name());
    }
    let dir = std::env::temp_dir().join(format!("identify-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let cache = Cache::at(&dir);
    cache.identify(program)?;
    let mut looks: Vec<_> = (0..LOOKS).map(|_| timed(|| cache.identify(program).is_ok())).collect();
    looks.sort_unstable();
    let at = |percent: usize| looks[looks.len() * percent / 100];
    println!("{}: {}", program.display(), identity.known().version());
    println!("  read {cold:?}, read again {again:?}, thorough look {thorough:?}");
    println!("  from the cache: least {:?}, median {:?}, 95 % {:?}", at(0), at(50), at(95));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn timed(work: impl FnOnce() -> bool) -> std::time::Duration {
    let begun = Instant::now();
    assert!(work(), "it was found before");
    begun.elapsed()
}
