//! Epochs of tags: what stands, or a new one, in one step.

use std::sync::LazyLock;
use std::time::Duration;

use futures::future::try_join_all;
use larder_core::StoreError;
use redis::Value;
use tokio::time::Instant;

use crate::client::Client;
use crate::config::LONGEST;
use crate::script::{Run, Script};

pub(crate) const OPERATION: &str = "epochs";

/// ARGV: for how many milliseconds an epoch is to stand at least, and three digits of chance.
///
/// The number of a new one is made here, of the server's clock, and not by who asks: a script that
/// was held up on its way, or runs twice, begins another epoch and not one that was ended. It
/// stands for twice the time, so that not every load has to prolong it.
///
/// An epoch that cannot be read, and what is no string, is written over: whatever it was, nothing
/// that is stamped stands under it.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local life = tonumber(ARGV[1])
local found = {}
for i, key in ipairs(KEYS) do
  local epoch = redis.pcall('GET', key)
  if type(epoch) == 'string' and string.match(epoch, '^%d+$') and #epoch < 20 then
    if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, 2 * life) end
  else
    local time = redis.call('TIME')
    epoch = time[1] .. string.format('%06d', time[2]) .. ARGV[2]
    redis.call('SET', key, epoch, 'PX', 2 * life)
  end
  found[i] = epoch
end
return found",
    )
});

/// The epochs that stand under `keys`: in one step where there is one server; on a Cluster, whose
/// scripts have keys of one slot, in one for each.
pub(crate) async fn stand(
    client: &Client,
    keys: &[&str],
    life: Duration,
    deadline: Instant,
) -> Result<Vec<u64>, StoreError> {
    if keys.len() < 2 || client.apart(OPERATION, deadline).is_none() {
        return stand_together(client, keys, life, deadline).await;
    }
    let each = keys.chunks(1).map(|key| stand_together(client, key, life, deadline));
    Ok(try_join_all(each).await?.concat())
}

async fn stand_together(
    client: &Client,
    keys: &[&str],
    life: Duration,
    deadline: Instant,
) -> Result<Vec<u64>, StoreError> {
    let life = life.min(LONGEST / 2).as_millis().max(1).to_string();
    let chance = format!("{:03}", fastrand::u16(..1_000));
    let arguments = [life.as_bytes(), chance.as_bytes()];
    let run = Run { script: &SCRIPT, keys, arguments: &arguments, repeatable: true };
    let reply = client.call(OPERATION, &run, deadline).await?;
    let epochs = match &reply {
        Value::Array(found) if found.len() == keys.len() => found.iter().map(number).collect(),
        _ => None,
    };
    epochs.ok_or_else(|| client.unexpected(OPERATION, &reply))
}

fn number(reply: &Value) -> Option<u64> {
    match reply {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}
