//! One Redis, two services: Larder in the layout `Plain`, and a Node.js service with ioredis and
//! express. Each reads, finds and forgets what the other cached.

mod pages;
mod pair;
mod values;
