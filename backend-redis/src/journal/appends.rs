//! Appends, gathered into runs of one script.

use bytes::Bytes;
use larder_core::StoreError;
use larder_core::write_behind::Sequence;
use redis::Value;
use tokio::time::Instant;

use super::Keys;
use crate::client::Client;
use crate::error::STORE;
use crate::gather::{Gathers, Waiting};
use crate::script::{Run, Script};

pub(super) const APPEND: &str = "append";

/// A larger write goes alone, in bytes: to gather it spares nothing, and would hold up the others.
pub(super) const LARGE: usize = 16 << 10;

pub(super) struct Appends {
    pub(super) script: Script,
    pub(super) keys: Keys,
    pub(super) max_writes: usize,
}

pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: Bytes,
}

impl Appends {
    async fn run(
        &self,
        client: &Client,
        writes: impl ExactSizeIterator<Item = &Write> + Send,
        deadline: Instant,
    ) -> Result<(u64, usize), StoreError> {
        let max = self.max_writes.to_string();
        let mut arguments = Vec::with_capacity(1 + 2 * writes.len());
        arguments.push(max.as_bytes());
        for write in writes {
            arguments.extend([write.key.as_bytes(), &write.value[..]]);
        }
        let keys: [&str; 3] = [&self.keys.writes, &self.keys.places, &self.keys.last];
        // Sent twice it would append twice, and another's later write might stand in between.
        let run =
            Run { script: &self.script, keys: &keys, arguments: &arguments, repeatable: false };
        let reply = client.call(APPEND, &run, deadline).await?;
        match &reply {
            Value::Array(said) => match said.as_slice() {
                [Value::BulkString(first), Value::Int(count)] => {
                    let first = std::str::from_utf8(first).ok().and_then(|it| it.parse().ok());
                    first.zip(usize::try_from(*count).ok())
                }
                _ => None,
            },
            _ => None,
        }
        .ok_or_else(|| client.unexpected(APPEND, &reply))
    }

    fn place(&self, index: usize, appended: (u64, usize)) -> Result<Sequence, StoreError> {
        let (first, count) = appended;
        if index >= count {
            return Err(StoreError::full(STORE, APPEND, self.max_writes));
        }
        Ok(Sequence::from_number(first + index as u64))
    }
}

impl Gathers for Appends {
    type Question = Write;
    type Answer = Sequence;

    const OPERATION: &'static str = APPEND;

    fn count(&self, client: &Client, questions: usize) {
        client.meter.gathered_appends(questions);
    }

    async fn together(
        &self,
        client: &Client,
        calls: &[Waiting<Self>],
        deadline: Instant,
    ) -> Vec<Result<Sequence, StoreError>> {
        let writes = calls.iter().map(|call| &call.question);
        match self.run(client, writes, deadline).await {
            Ok(appended) => (0..calls.len()).map(|index| self.place(index, appended)).collect(),
            Err(error) => calls.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn alone(
        &self,
        client: &Client,
        write: &Write,
        deadline: Instant,
    ) -> Result<Sequence, StoreError> {
        let appended = self.run(client, std::iter::once(write), deadline).await?;
        self.place(0, appended)
    }
}
