//! Which master has which slots.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use redis::Value;

use crate::config::Node;
use crate::server::Server;
use crate::slot::SLOTS;

/// Slots from the first to the second, and their master.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) master: Node,
}

/// What a node says to `CLUSTER SLOTS`, or nothing where that makes no sense. A node that does not
/// know its own address is to be found where it was `asked`; slots of a master whose address nobody
/// knows are left out.
pub(super) fn ranges(reply: &Value, asked: &Node) -> Option<Vec<Range>> {
    let Value::Array(rows) = reply else { return None };
    let ranges: Vec<Option<Range>> =
        rows.iter().map(|row| range(row, asked)).collect::<Option<_>>()?;
    let mut ranges: Vec<Range> = ranges.into_iter().flatten().collect();
    ranges.sort();
    Some(ranges)
}

fn range(row: &Value, asked: &Node) -> Option<Option<Range>> {
    let Value::Array(row) = row else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = row.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match host {
        // It prefers to be called by a name, and has none yet.
        Value::BulkString(host) if host == b"?" => ip(master.get(3)),
        Value::BulkString(host) if !host.is_empty() => Some(String::from_utf8(host.clone()).ok()?),
        Value::BulkString(_) | Value::Nil => Some(asked.host.clone()),
        _ => return None,
    };
    let port = match u16::try_from(*port).ok()? {
        0 => asked.port,
        port => port,
    };
    let slot = |number: &i64| u16::try_from(*number).ok().filter(|slot| *slot < SLOTS);
    let (first, last) = (slot(first)?, slot(last)?);
    Some(host.map(|host| Range { first, last, master: Node { host, port } }))
}

/// The address among what else is told of a node, since Redis 7: names, each with its value.
fn ip(told: Option<&Value>) -> Option<String> {
    let text = |value: &Value| match value {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        _ => None,
    };
    let named = match told? {
        Value::Array(words) => words.chunks_exact(2).find_map(|pair| match pair {
            [name, value] if text(name).as_deref() == Some("ip") => text(value),
            _ => None,
        }),
        Value::Map(pairs) => pairs.iter().find_map(|(name, value)| {
            (text(name).as_deref() == Some("ip")).then(|| text(value)).flatten()
        }),
        _ => None,
    };
    named.filter(|ip| !ip.is_empty())
}

/// The masters that have slots.
pub(super) fn masters(ranges: &[Range]) -> BTreeSet<Node> {
    ranges.iter().map(|range| range.master.clone()).collect()
}

/// A number that is another after every change.
pub(super) fn fingerprint(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Where each slot is.
pub(super) struct Map {
    /// In the order of their addresses.
    pub(super) masters: Vec<Arc<Server>>,
    /// For each slot the index of its master, or one too large.
    slots: Vec<u16>,
    pub(super) fingerprint: u64,
}

impl Map {
    pub(super) fn new(ranges: &[Range], server: impl Fn(&Node) -> Option<Arc<Server>>) -> Self {
        let nodes = masters(ranges);
        let mut slots = vec![u16::MAX; usize::from(SLOTS)];
        for range in ranges {
            let index = nodes.iter().position(|node| *node == range.master).unwrap_or(usize::MAX);
            let places = usize::from(range.first)..=usize::from(range.last);
            if let Some(places) = slots.get_mut(places) {
                places.fill(u16::try_from(index).unwrap_or(u16::MAX));
            }
        }
        let masters = nodes.iter().filter_map(server).collect();
        Self { masters, slots, fingerprint: fingerprint(&ranges) }
    }

    pub(super) fn master_of(&self, slot: u16) -> Option<&Arc<Server>> {
        self.masters.get(self.index_of(slot)?)
    }

    /// Which of the masters has the slot.
    pub(super) fn index_of(&self, slot: u16) -> Option<usize> {
        let index = usize::from(*self.slots.get(usize::from(slot))?);
        (index < self.masters.len()).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn row(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node])
    }

    fn node(host: &str, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    #[test]
    fn a_node_that_does_not_know_its_address_is_where_it_was_asked() {
        let asked = node("cache", 7000);
        let reply = Value::Array(vec![
            row(100, 16_383, text("10.0.0.2"), 7001),
            row(0, 98, Value::Nil, 7002),
            row(99, 99, text(""), 0),
        ]);
        let ranges = ranges(&reply, &asked).unwrap();
        let found: Vec<_> = ranges.iter().map(|it| (it.first, it.last, &it.master)).collect();
        assert_eq!(
            found,
            [
                (0, 98, &node("cache", 7002)),
                (99, 99, &node("cache", 7000)),
                (100, 16_383, &node("10.0.0.2", 7001)),
            ]
        );
    }

    /// <https://redis.io/docs/latest/commands/cluster-slots/>: `?` is no address.
    #[test]
    fn a_node_whose_name_is_unknown_is_found_by_its_ip_or_not_at_all() {
        let named = |port: i64, told: Value| {
            let node = Value::Array(vec![text("?"), Value::Int(port), text("id"), told]);
            Value::Array(vec![Value::Int(port), Value::Int(port), node])
        };
        let reply = Value::Array(vec![
            named(1, Value::Array(vec![text("ip"), text("10.0.0.1")])),
            named(2, Value::Map(vec![(text("ip"), text("10.0.0.2"))])),
            named(3, Value::Array(vec![])),
            row(4, 5, text("10.0.0.4"), 4),
        ]);
        let ranges = ranges(&reply, &node("cache", 7000)).unwrap();
        let found: Vec<_> = ranges.iter().map(|it| (it.first, it.master.host.as_str())).collect();
        assert_eq!(found, [(1, "10.0.0.1"), (2, "10.0.0.2"), (4, "10.0.0.4")]);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let asked = node("cache", 7000);
        for reply in [
            Value::Okay,
            Value::Array(vec![Value::Okay]),
            Value::Array(vec![row(0, 16_384, text("a"), 1)]),
            Value::Array(vec![row(-1, 5, text("a"), 1)]),
            Value::Array(vec![row(0, 5, text("a"), 65_536)]),
        ] {
            assert_eq!(ranges(&reply, &asked), None, "{reply:?}");
        }
    }
}
