use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use larder_demo::PerMinute;

/// A shop whose API answers from Larder's caches.
///
/// Its data is in SQLite: created and filled at the first start, with 10,000 products and 10,000
/// users. Its caches and sessions are in memory, or in Redis. When users were last seen goes through
/// a journal, in a file or in Redis. Whoever can reach the port can change the
/// users: accounts are for carts alone.
// No `Debug`: the URL of Redis may hold a password, and the secret is one.
#[derive(Parser)]
#[command(version, after_help = "RUST_LOG sets what is logged, as in RUST_LOG=larder_redis=debug.")]
pub struct Args {
    /// The name or address to listen on
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,

    /// The port to listen on; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8787)]
    pub port: u16,

    /// How many servers to start, each with a port of its own from --port on, with users in its own
    /// memory in front of the store, and a bus over which it hears what the others change. The page
    /// shows them together. In Redis the bus is its channels; without --redis all have one store in
    /// memory
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=16))]
    pub nodes: u16,

    /// The file of the SQLite database; created where it is missing
    #[arg(long, value_name = "FILE", default_value = "larder-demo.db")]
    pub database: PathBuf,

    /// The file of the journal, in which it waits for the database when users were last seen, unless
    /// that is in Redis; by default beside the database, with .journal after its name
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// Keep caches, counts, sessions and the journal in Redis or Valkey, as in redis://user:password@host:6379/0;
    /// by default they are in memory
    #[arg(long, value_name = "URL", env = "LARDER_REDIS_URL", hide_env_values = true)]
    pub redis: Option<String>,

    /// How many requests a minute of one client the API answers; 0 for as many as it likes
    #[arg(long, value_name = "N", env = "LARDER_RATE_LIMIT", default_value_t = PerMinute::default())]
    pub rate_limit: PerMinute,

    /// How often a minute one client may fail to sign in to an account, and four times as often in
    /// all; 0 for as often as it likes
    #[arg(long, value_name = "N", env = "LARDER_SIGN_IN_LIMIT", default_value_t = PerMinute(5))]
    pub sign_in_limit: PerMinute,

    /// What signs the cookies of sessions: at least 32 bytes, the same for all servers on one Redis,
    /// better in the environment than here. Several are divided by commas: the first signs, all are
    /// accepted. By default this process makes one for itself
    #[arg(
        long,
        value_name = "SECRET",
        env = "LARDER_SESSION_SECRET",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub session_secret: Vec<String>,

    /// Whether the cookies of sessions go over http too
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = Cookies::Auto)]
    pub cookies: Cookies,

    /// How many reverse proxies stand in front of this server and add the client's address to
    /// X-Forwarded-For; with 0 a client is known by its connection
    #[arg(long, value_name = "N", env = "LARDER_TRUSTED_PROXIES", default_value_t = 0)]
    pub trusted_proxies: usize,

    /// How the requests of clients are counted in Redis
    #[arg(long, value_name = "LAYOUT", value_enum, default_value_t = RateLimitLayout::Larder)]
    pub rate_limit_layout: RateLimitLayout,
}

/// Whether the cookies of sessions go over http too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cookies {
    /// Over http where the server is reached from its own machine alone: it listens on the loopback
    /// address, and behind no proxy
    Auto,
    /// Over https alone, as a proxy in front of the server speaks it: `__Host-` and `Secure`
    Https,
    /// Over http too, where whoever listens in on the network can take them
    Http,
}

/// How the requests of clients are counted in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RateLimitLayout {
    /// As Larder does
    Larder,
    /// Together with services of Node.js that use express-rate-limit and rate-limit-redis
    Express,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
