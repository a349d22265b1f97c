//! Lua that Redis runs: by its hash, and by its text where Redis does not know it.

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::client::Request;
use crate::connection::Connection;
use crate::slot;

#[derive(Debug)]
pub(crate) struct Script {
    text: String,
    script: redis::Script,
}

impl Script {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let script = redis::Script::new(&text);
        Self { text, script }
    }

    /// One that begins with what several have in common.
    pub(crate) fn after(beginning: &str, body: &str) -> Self {
        Self::new([beginning, body].concat())
    }
}

/// One run of a script.
///
/// Redis runs it whole or not at all, but not the same when it runs twice.
pub(crate) struct Run<'a> {
    pub(crate) script: &'a Script,
    pub(crate) keys: &'a [&'a str],
    pub(crate) arguments: &'a [&'a [u8]],
    /// Whether it comes to the same when it is run twice.
    pub(crate) repeatable: bool,
}

impl Run<'_> {
    /// The command to try first.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", self.script.script.get_hash())
    }

    /// What Redis answered to [`by_hash`](Self::by_hash), or to the text where that asked for it.
    pub(crate) async fn answer(
        &self,
        connection: &mut Connection,
        first: Result<Value, RedisError>,
    ) -> Result<Value, RedisError> {
        match first.and_then(Value::extract_error) {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let by_text = self.command("EVAL", &self.script.text);
                connection.send_packed_command(&by_text).await?.extract_error()
            }
            answer => answer,
        }
    }

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

    fn slot(&self) -> Option<u16> {
        self.keys.first().map(|key| slot::of_key(key.as_bytes()))
    }

    async fn send(&self, connection: &mut Connection) -> Result<Value, RedisError> {
        let first = connection.send_packed_command(&self.by_hash()).await;
        self.answer(connection, first).await
    }
}
