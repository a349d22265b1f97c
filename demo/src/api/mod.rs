//! The handlers, one module for each part of the API.

pub(crate) mod operations;
pub(crate) mod page;
pub(crate) mod products;
pub(crate) mod settings;
pub(crate) mod users;
