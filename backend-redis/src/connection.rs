//! One multiplexed connection, as a request sees it.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, Value};

/// A connection to one server.
#[derive(Clone)]
pub(crate) struct Connection {
    multiplexed: MultiplexedConnection,
    /// Whether the node of a Cluster is asked for what it does not own yet.
    asking: bool,
}

impl Connection {
    pub(crate) fn new(multiplexed: MultiplexedConnection) -> Self {
        Self { multiplexed, asking: false }
    }

    /// The same connection for the requests of a slot that is on its way to this node.
    pub(crate) fn asking(mut self, asking: bool) -> Self {
        self.asking = asking;
        self
    }

    /// Subscribes to a channel; ends when the server has confirmed it.
    pub(crate) async fn subscribe(&mut self, channel: &str) -> Result<(), RedisError> {
        self.multiplexed.subscribe(channel).await
    }

    /// Sends one command, and returns what the server says to it.
    pub(crate) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.send_packed_command(command).await?.extract_error()
    }

    /// Sends one command; an error of the server's may be in the value.
    pub(crate) async fn send_packed_command(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        if !self.asking {
            return self.multiplexed.send_packed_command(command).await;
        }
        let mut both = Pipeline::with_capacity(2);
        both.cmd("ASKING").add_command(command.clone());
        let mut replies = self.multiplexed.send_packed_commands(&both, 1, 1).await?;
        Ok(replies.pop().unwrap_or(Value::Nil))
    }

    /// Sends a pipeline, and returns a reply for each of its commands; errors of the server's stay
    /// in their place.
    pub(crate) async fn send_pipeline(
        &mut self,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, RedisError> {
        if !self.asking {
            return self.multiplexed.send_packed_commands(pipeline, 0, pipeline.len()).await;
        }
        let mut both = Pipeline::with_capacity(2 * pipeline.len());
        for command in pipeline.cmd_iter() {
            both.cmd("ASKING").add_command(command.clone());
        }
        let replies = self.multiplexed.send_packed_commands(&both, 0, both.len()).await?;
        Ok(replies.into_iter().skip(1).step_by(2).collect())
    }
}
