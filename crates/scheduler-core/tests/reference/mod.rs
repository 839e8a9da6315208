//! A second scheduler, simple and slow, and histories out of bytes that both live through: see [`live_through`].
//!
//! Used by `tests/histories.rs` and by the fuzzer (`fuzz/fuzz_targets/histories.rs`).

mod facts;
mod fleet;
mod jobs;
mod judge;
mod nonsense;
pub(crate) mod observers;
mod source;
mod tame;

use source::Source;

/// Lives through the history that these bytes spell.
///
/// Half of the histories are nonsense: anything is said by anybody at any time, of all sizes. The books have to be in order
/// after every step, and what is ordered has to make sense to whoever sees inputs and orders only ([`nonsense`]). In the
/// other half workers may say what they like too, but name only attempts that they may have, and nothing depends on
/// memory, on what was learned, or on trust: there the reference model ([`jobs`], [`fleet`]) knows every answer, every
/// cancellation and every word of an explanation, and which assignments are allowed and which missing ([`judge`]).
///
/// # Panics
/// If the scheduler breaks a promise, or does anything else than the model.
pub(crate) fn live_through(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    if source.chance(128) {
        nonsense::live_through(&mut source);
    } else {
        tame::live_through(&mut source);
    }
}
