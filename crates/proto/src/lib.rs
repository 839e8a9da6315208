//! Protocol `distccd.v1`.
//!
//! [`v1`] is generated from `proto/distccd/v1`: one file per conversation, whose comments say who speaks first.
//! Feature `client` adds the client stubs, `server` the server traits. [`convert`] is the only door between wire types
//! and the model; [`version`] decides which peers understand each other; [`limits`] bounds what is received.

#![forbid(unsafe_code)]

pub mod convert;
pub mod limits;
pub mod version;

pub mod v1 {
    //! Generated from `proto/distccd/v1/*.proto`; the comments there are the documentation.
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, rustdoc::all)]
    tonic::include_proto!("distccd.v1");
}
