//! What the shop says, on the console: `wrangler dev` and `wrangler tail` show it.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use worker::{Env, console_error, console_log, console_warn};

/// Begins to write what the variable `LOG` asks for: `off`, `error`, `warn` (by default), `info`,
/// `debug` or `trace`.
pub(crate) fn install(env: &Env) {
    let asked = env.var("LOG").ok().and_then(|level| level.to_string().parse().ok());
    // Fails where an earlier request has begun.
    let _ = tracing::subscriber::set_global_default(Console(asked.unwrap_or(LevelFilter::WARN)));
}

struct Console(LevelFilter);

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0 && metadata.is_event()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}:", metadata.level(), metadata.target()));
        event.record(&mut line);
        match *metadata.level() {
            Level::ERROR => console_error!("{}", line.0),
            Level::WARN => console_warn!("{}", line.0),
            _ => console_log!("{}", line.0),
        }
    }

    // Requests take turns within an isolate, so that what a span is entered for cannot be told.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message, and each field as `name=value`.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
