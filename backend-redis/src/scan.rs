//! `SCAN`, page by page.

use larder_core::{Cursor, Glob, ScanPage, StoreError, StoreErrorKind};
use redis::{Cmd, Value};

use crate::error::STORE;

pub(crate) const OPERATION: &str = "scan";

/// How many keys Redis looks at for one page.
const COUNT: usize = 512;

/// The command for the page at `cursor`, or the first one.
pub(crate) fn command(pattern: &Glob, cursor: Option<&Cursor>) -> Result<Cmd, StoreError> {
    let position = match cursor {
        None => 0,
        Some(cursor) => cursor.position().parse::<u64>().map_err(|_| {
            let detail = "the cursor comes from another store";
            StoreError::new(StoreErrorKind::Other, STORE, OPERATION, detail)
        })?,
    };
    let mut command = redis::cmd("SCAN");
    command.arg(position).arg("MATCH").arg(pattern.as_str()).arg("COUNT").arg(COUNT);
    Ok(command)
}

/// The page in a reply, or the reply where it is none.
pub(crate) fn page(reply: Value) -> Result<ScanPage, Value> {
    let (cursor, keys) = match reply {
        Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
            Ok([Value::BulkString(cursor), Value::Array(keys)]) => (cursor, keys),
            Ok(parts) => return Err(Value::Array(parts.into())),
            Err(parts) => return Err(Value::Array(parts)),
        },
        other => return Err(other),
    };
    let Ok(cursor) = String::from_utf8(cursor) else { return Err(Value::Array(keys)) };
    // Keys of Larder are text; what is none is somebody else's, and cannot be named here.
    let keys = keys.into_iter().filter_map(|key| match key {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    });
    let next = (cursor != "0").then(|| Cursor::new(cursor));
    Ok(ScanPage { keys: keys.collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_page_has_keys_and_where_to_go_on() {
        let foreign = Value::BulkString(vec![0xff]);
        let keys = Value::Array(vec![text("a"), foreign, text("b")]);
        let found = page(Value::Array(vec![text("17"), keys])).unwrap();
        assert_eq!(found.keys, ["a", "b"]);
        assert_eq!(found.next, Some(Cursor::new("17")));

        let last = page(Value::Array(vec![text("0"), Value::Array(vec![])])).unwrap();
        assert!(last.keys.is_empty());
        assert_eq!(last.next, None);
    }

    #[test]
    fn what_is_no_page_is_given_back() {
        for reply in [Value::Okay, Value::Array(vec![text("0")]), Value::Array(vec![])] {
            assert!(page(reply).is_err());
        }
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        let error = command(&Glob::new("*"), Some(&Cursor::new("a:42"))).unwrap_err();
        assert!(error.to_string().contains("another store"));
    }
}
