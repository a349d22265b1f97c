//! One Redis, two services: Larder, and a Node.js service with ioredis and express. Each reads, finds
//! and forgets what the other cached, and counts what the other let through.

mod invalidations;
mod limits;
mod pages;
mod pair;
mod sessions;
mod values;
