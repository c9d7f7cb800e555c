//! What the integration tests share: lakes whose every row is known, places to put them, and the
//! program itself.

pub mod place;
pub(crate) mod postgres;
pub mod program;
pub mod python;
pub mod random_lake;
pub(crate) mod services;
pub(crate) mod tls;
pub(crate) mod wire;
