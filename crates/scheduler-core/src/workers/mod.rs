//! The fleet as the scheduler believes it to be: who is there ([`table`], [`group`]), how each worker fares
//! ([`health`], [`pace`]), what it has been given ([`holdings`]), and which jobs it could take ([`demand`],
//! [`classes`], by ids of their own: [`class_map`]).

pub(crate) mod class_map;
pub(crate) mod classes;
pub(crate) mod demand;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod holdings;
pub(crate) mod pace;
pub(crate) mod table;

pub(crate) use class_map::{ClassId, ClassMap};
pub(crate) use classes::Classes;
pub(crate) use demand::Demand;
pub(crate) use group::{Group, GroupId};
pub(crate) use health::BenchPolicy;
pub(crate) use holdings::Holdings;
pub(crate) use table::{Worker, WorkerTable};
