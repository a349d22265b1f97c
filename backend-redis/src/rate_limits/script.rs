//! Scripts that know what time it is, by the server's clock.

use crate::script::Script;

/// How long a key outlives what stands under it, in milliseconds: Redis counts an expiry from the
/// moment at which it took up the command, which is a little before the script asks for the time.
const SPARE: u32 = 100;

/// The microsecond it is, by the server's clock.
const CLOCK: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";

pub(super) fn timed(body: &str) -> Script {
    timed_by(CLOCK, SPARE, body)
}

/// Under another clock.
pub(super) fn timed_by(clock: &str, spare: u32, body: &str) -> Script {
    Script::new(format!("{clock}local spare = {spare}\n{body}"))
}
