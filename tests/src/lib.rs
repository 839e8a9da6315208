//! Stories told with real daemons on real ports, real launchers and real compilers.
//!
//! [`cluster::Cluster`] is a server and workers on this machine, around a directory that plays the shared mount;
//! [`run`] runs a command and keeps all that can be seen of it; [`gate`] makes a compiler wait until the story goes on,
//! and [`held_job`] is a job of such a one.
//! Nothing sleeps to synchronise: daemons are waited for by what they log, compilers by what they write.

pub mod binaries;
pub mod cluster;
pub mod daemon;
pub mod family;
pub mod fidelity;
pub mod gate;
pub mod held_job;
pub mod run;
pub mod tracer;
pub mod tree;
