//! Protocol `distccd.v1`.
//!
//! [`v1`] is generated from `proto/distccd/v1`. Feature `client` adds the client stubs, `server` the server traits.

pub mod v1 {
    //! Generated from `proto/distccd/v1/*.proto`; the comments there are the documentation.
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, rustdoc::all)]
    tonic::include_proto!("distccd.v1");
}
