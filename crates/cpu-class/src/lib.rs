//! Which machines a compiler would take for the same CPU.
//!
//! `-march=native`, `-mtune=native` and `-mcpu=native` make a compiler ask the machine it runs on: for the instruction
//! set, for the model to tune for, and (GCC) for the sizes of caches. Two machines are of one class when every such
//! question has the same answer on both, so that a command with `native` in it gives the same bytes on either.
//!
//! What is asked was read from GCC's `config/i386/driver-i386.cc`, `config/i386/cpuinfo.h` and
//! `config/aarch64/driver-aarch64.cc`, and LLVM's `lib/TargetParser/Host.cpp`. More than they ask is taken in: a class too
//! many costs a local run, one too few a wrong object.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod questions;

#[cfg(not(target_arch = "x86_64"))]
#[path = "cpuinfo.rs"]
mod questions;

#[cfg(all(test, target_arch = "x86_64"))]
#[allow(dead_code, reason = "compiled here for its tests only")]
mod cpuinfo;

use model::ids::CpuClass;

/// The class of this machine. It costs some ten microseconds, more under a hypervisor, which answers `cpuid` itself.
///
/// `None` when the answers depend on which of its cores is asked (hybrid processors), or cannot be had.
#[must_use]
pub fn of_this_machine() -> Option<CpuClass> {
    questions::answers().map(|answers| CpuClass::of_answers(&answers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    #[test]
    fn every_core_gives_the_same_answers() {
        let class = of_this_machine();
        let allowed = sched_getaffinity(None).unwrap();
        for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)) {
            let mut one = CpuSet::new();
            one.set(cpu);
            let there = std::thread::spawn(move || {
                sched_setaffinity(None, &one).unwrap();
                of_this_machine()
            });
            assert_eq!(there.join().unwrap(), class, "cpu {cpu}");
        }
    }
}
