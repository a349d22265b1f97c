//! Lua that Redis runs: by its hash, and by its text where Redis does not know it.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::client::Request;

/// How long a key outlives what stands under it, in milliseconds: Redis counts an expiry from the
/// moment at which it took up the command, which is a little before the script asks for the time.
const SPARE: u32 = 100;

/// The microsecond it is, by the server's clock.
const CLOCK: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";

#[derive(Debug)]
pub(super) struct Script {
    text: String,
    script: redis::Script,
}

impl Script {
    pub(super) fn new(body: &str) -> Self {
        Self::on(CLOCK, SPARE, body)
    }

    /// Under another clock.
    pub(super) fn on(clock: &str, spare: u32, body: &str) -> Self {
        let text = format!("{clock}local spare = {spare}\n{body}");
        let script = redis::Script::new(&text);
        Self { text, script }
    }
}

/// One run of a script.
///
/// Redis runs it whole or not at all, but not the same when it runs twice.
pub(super) struct Run<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [&'a str],
    pub(super) arguments: &'a [&'a [u8]],
    /// Whether it comes to the same when it is run twice.
    pub(super) repeatable: bool,
}

impl Run<'_> {
    fn command(&self, name: &str, script: &str) -> Cmd {
        let bytes = self.keys.iter().map(|it| it.len()).sum::<usize>()
            + self.arguments.iter().map(|it| it.len()).sum::<usize>();
        let words = 3 + self.keys.len() + self.arguments.len();
        let mut command = Cmd::with_capacity(words, name.len() + script.len() + 4 + bytes);
        command.arg(name).arg(script).arg(self.keys.len()).arg(self.keys).arg(self.arguments);
        command
    }
}

impl Request for Run<'_> {
    type Reply = Value;

    fn can_be_repeated(&self) -> bool {
        self.repeatable
    }

    async fn send(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        let by_hash = self.command("EVALSHA", self.script.script.get_hash());
        match connection.send_packed_command(&by_hash).await.and_then(Value::extract_error) {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let by_text = self.command("EVAL", &self.script.text);
                connection.send_packed_command(&by_text).await?.extract_error()
            }
            answer => answer,
        }
    }
}
