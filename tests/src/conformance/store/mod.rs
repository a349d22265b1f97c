//! What the trait `Store` promises.

mod epochs;
mod limits;
mod lives;
mod many;
mod scan;
mod service;
mod values;

use super::Case;

pub(super) const CASES: &[&[Case]] = &[
    values::CASES,
    many::CASES,
    lives::CASES,
    epochs::CASES,
    scan::CASES,
    limits::CASES,
    service::CASES,
];
