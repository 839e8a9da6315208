//! One peer's side of a conversation.

pub mod outbox;
