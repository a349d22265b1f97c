//! Larder beside its peers, as a table: `cargo xtask bench`, or `cargo run --release -p
//! larder-bench` where redis-server is installed.
//!
//! - [`memory`], [`local`], [`redis_reads`], [`bus`], [`loads`], [`journals`], [`limits`],
//!   [`redis_limits`], [`http`], [`sessions`], [`workers`]: what is compared.
//! - [`rounds`]: how; [`client`]: who asks the HTTP servers; [`table`]: how it is printed;
//!   [`servers`]: the programs beside this one.

mod bus;
mod client;
mod http;
mod journals;
mod limits;
mod loads;
mod local;
mod memory;
mod redis_limits;
mod redis_reads;
mod rounds;
mod servers;
mod sessions;
mod table;
mod workers;

use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::http::Front;
use crate::rounds::Pace;
use crate::servers::{Core, Redis, can_pin, stay_on, version};
use crate::table::{HEAD, Row};

#[derive(Parser)]
#[command(about = "Larder beside its peers, as a table", bin_name = "larder-bench")]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    /// Fewer and shorter rounds: the figures are coarse
    #[arg(long)]
    quick: bool,
    /// Only these comparisons
    #[arg(value_enum)]
    only: Vec<Comparison>,
}

#[derive(Subcommand)]
enum Task {
    /// Serve what the HTTP comparison asks for
    #[command(hide = true)]
    Serve {
        front: Front,
        #[arg(long)]
        redis: Option<String>,
    },
    /// Compare two Workers that are running: `cargo xtask worker bench` starts them
    #[command(hide = true)]
    Workers { ours: String, peer: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Comparison {
    /// A hit in memory
    Memory,
    /// A hit of a typed value in the local tier
    Local,
    /// A typed read through Redis
    Redis,
    /// How long what was replaced is still served elsewhere
    Bus,
    /// Loads of one cold key
    Loads,
    /// A write into a journal
    Journals,
    /// Requests a second behind the response cache
    Http,
    /// A check of a rate limit in memory
    Limits,
    /// A check of a rate limit through Redis
    RedisLimits,
    /// Requests a second behind the rate limit
    HttpLimits,
    /// Requests a second of a handler that reads its session
    Sessions,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    rounds: usize,
    /// Reads of a thread in a turn.
    reads: usize,
    /// How long a turn through Redis takes.
    turn: Duration,
    /// Of the HTTP servers.
    http: Pace,
}

impl Effort {
    const FULL: Self = Self {
        rounds: 5,
        reads: 1_000_000,
        turn: Duration::from_secs(1),
        http: Pace { rounds: 9, turns: 30, turn: Duration::from_millis(50) },
    };
    const QUICK: Self = Self {
        rounds: 3,
        reads: 300_000,
        turn: Duration::from_millis(300),
        http: Pace { rounds: 5, turns: 20, turn: Duration::from_millis(50) },
    };
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.task {
        Some(Task::Serve { front, redis }) => return http::serve(*front, redis.as_deref()),
        Some(Task::Workers { ours, peer }) => {
            println!("{HEAD}\n{}", workers::compare(ours, peer)?);
            return Ok(());
        }
        None => {}
    }
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    let wanted = |comparison| arguments.only.is_empty() || arguments.only.contains(&comparison);
    print_machine(effort);
    println!("{HEAD}");
    let print = |row: Row| println!("{row}");
    if wanted(Comparison::Memory) {
        memory::compare(effort, print)?;
    }
    if wanted(Comparison::Local) {
        local::compare(effort, print)?;
    }
    if wanted(Comparison::Limits) {
        limits::compare(effort, print)?;
    }
    let on_redis = [
        Comparison::Redis,
        Comparison::Bus,
        Comparison::Loads,
        Comparison::Journals,
        Comparison::RedisLimits,
    ];
    if on_redis.into_iter().any(wanted) {
        let redis = Redis::start(None)?;
        if wanted(Comparison::Redis) {
            redis_reads::compare(effort, &redis, print)?;
        }
        if wanted(Comparison::Bus) {
            bus::measure(effort, &redis, print)?;
        }
        if wanted(Comparison::Loads) {
            loads::count(effort, &redis, print)?;
        }
        if wanted(Comparison::Journals) {
            journals::compare(effort, &redis, print)?;
        }
        if wanted(Comparison::RedisLimits) {
            redis_limits::compare(effort, &redis, print)?;
        }
    }
    if [Comparison::Http, Comparison::HttpLimits, Comparison::Sessions].into_iter().any(wanted) {
        stay_on(Core::Client)?;
    }
    if wanted(Comparison::Http) {
        http::compare(effort, print)?;
    }
    if wanted(Comparison::HttpLimits) {
        http::compare_limits(effort, print)?;
    }
    if wanted(Comparison::Http) || wanted(Comparison::Sessions) {
        sessions::compare(effort, print)?;
    }
    Ok(())
}

fn print_machine(effort: Effort) {
    let cores = available_parallelism().map_or(1, usize::from);
    let redis = version("redis-server", "--version").unwrap_or_default();
    let redis = redis.split("v=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let pinned = if can_pin() { "each on a core of its own" } else { "not pinned to cores" };
    println!(
        "{cores} cores, Redis {}, HTTP server and client {pinned}; medians of {} interleaved \
         rounds, those of HTTP of {} rounds with {} turns each.\n",
        redis.unwrap_or("of an unknown version"),
        effort.rounds,
        effort.http.rounds,
        effort.http.turns,
    );
}
