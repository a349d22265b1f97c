//! Values: what `cache.get`, `set`, `del` and `delPattern` of the Node.js service see of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use larder_core::{Lookup, hours, millis, minutes, seconds};
use larder_tests::eventually;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pair::Pair;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    id: u64,
    total: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    lines: Vec<Line>,
    labels: BTreeMap<String, Vec<Option<bool>>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line(String, i32);

fn order() -> Order {
    let labels = [("ü", vec![Some(true), None, Some(false)]), ("", vec![])];
    Order {
        id: 9_007_199_254_740_991,
        total: -1_234.562_5,
        note: None,
        lines: vec![Line("Käse 🧀 \"alt\"".into(), -3), Line("a\\b/c\u{2028}".into(), 0)],
        labels: labels.map(|(name, of)| (name.to_owned(), of)).into(),
    }
}

const TEXTS: [&str; 6] = [
    "",
    "Zoë",
    "日本語 🦀",
    "\"quoted\" \\ / </script>",
    "\u{0}\u{1}\u{8}\t\n\u{c}\r\u{1f}\u{7f}",
    "null",
];
const NUMBERS: [f64; 8] = [0.1, -0.5, 1e-7, 2.5e-10, 123_456.789, 1.5e300, f64::MIN_POSITIVE, 0.3];
const INTEGERS: [i64; 5] = [0, 1, -1, 9_007_199_254_740_991, -9_007_199_254_740_991];

/// Larder writes just what Node.js would, and each reads the other's.
async fn is_shared<T>(pair: &Pair, name: &str, value: &T) -> Result<()>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static,
{
    let json = serde_json::to_string(value)?;
    let (ours, theirs) = (format!("ours:{name}"), format!("theirs:{name}"));
    pair.cache.put(&ours, value).await?;
    pair.node_sets(&theirs, value, 3_600).await?;

    let stored = pair.stored(&format!("app:{ours}"));
    let stringified = pair.stringified(&json).await?;
    ensure!(stored == stringified, "{name}: Larder stored {stored}, Node.js {stringified}");
    ensure!(pair.stored(&format!("app:{theirs}")) == stringified, "{name}: the service is wrong");

    let parsed: Value = serde_json::from_str(&json)?;
    let got = pair.node_gets(&ours).await?;
    ensure!(got == parsed, "{name}: Node.js gets {got} for {parsed}");
    for key in [&ours, &theirs] {
        let got = pair.cache.get::<T>(key).await?;
        ensure!(got.as_deref() == Some(value), "{key}: Larder gets {got:?} for {value:?}");
    }
    Ok(())
}

#[tokio::test]
async fn values_are_the_same_bytes_and_read_by_both() -> Result<()> {
    let pair = Pair::start().await?;
    is_shared(&pair, "order", &order()).await?;
    let orders: Vec<Order> = vec![order(), Order { note: Some("ß".into()), ..order() }];
    is_shared(&pair, "orders", &orders).await?;
    for (at, text) in TEXTS.iter().enumerate() {
        is_shared(&pair, &format!("text:{at}"), &(*text).to_owned()).await?;
    }
    for (at, number) in NUMBERS.iter().enumerate() {
        is_shared(&pair, &format!("number:{at}"), number).await?;
    }
    for (at, number) in INTEGERS.iter().enumerate() {
        is_shared(&pair, &format!("integer:{at}"), number).await?;
    }
    is_shared(&pair, "true", &true).await?;
    is_shared(&pair, "false", &false).await?;
    is_shared(&pair, "empty:list", &Vec::<u8>::new()).await?;
    is_shared(&pair, "empty:object", &BTreeMap::<String, u8>::new()).await?;
    is_shared(&pair, "nulls", &vec![Some(1), None]).await
}

#[tokio::test]
async fn a_whole_number_in_a_float_is_the_same_number() -> Result<()> {
    let pair = Pair::start().await?;
    for number in [1.0, -20.0, 1e16, 1e21] {
        pair.cache.put("number", &number).await?;
        let got = pair.node_gets("number").await?.as_f64();
        ensure!(got == Some(number), "Node.js gets {got:?} for {number}");
        pair.node_sets("number", &number, 60).await?;
        let got = pair.cache.get::<f64>("number").await?;
        ensure!(got.as_deref() == Some(&number), "Larder gets {got:?} for {number}");
    }
    Ok(())
}

#[tokio::test]
async fn several_keys_are_read_and_written_at_once() -> Result<()> {
    let pair = Pair::start().await?;
    pair.node_sets("a", &1, 60).await?;
    pair.cache.put_many([("b", 2), ("c", 3)]).await?;
    let found = pair.cache.get_many::<u32>(["a", "b", "missing", "c"]).await?;
    let found: Vec<_> = found.iter().map(|value| value.as_deref().copied()).collect();
    ensure!(found == [Some(1), Some(2), None, Some(3)], "{found:?}");
    ensure!(pair.node_gets("c").await? == 3, "Node.js does not get what put_many wrote");
    Ok(())
}

#[tokio::test]
async fn lives_are_whole_seconds_set_by_setex() -> Result<()> {
    let pair = Pair::start().await?;
    let default = pair.cache.with_ttl(hours(1));
    for (ttl, expected) in [(seconds(300), 300), (minutes(2), 120)] {
        pair.cache.entry("ours").ttl(ttl).put(&1).await?;
        pair.node_sets("theirs", &1, expected).await?;
        let [ours, theirs] =
            ["app:ours", "app:theirs"].map(|key| pair.redis.command(&["TTL", key]));
        // A second may have passed between the two.
        let expected = [format!(":{expected}"), format!(":{}", expected - 1)];
        ensure!(expected.contains(&ours), "{ttl:?}: it is {ours}");
        ensure!(expected.contains(&theirs), "{ttl:?}: of the service it is {theirs}");
    }
    // More than is left of 90 s.
    let is_rounded_up = async || {
        let put = pair.cache.entry("ours").ttl(millis(90_500)).put(&1).await;
        let left = pair.redis.command(&["PTTL", "app:ours"]);
        put.is_ok() && left.trim_start_matches(':').parse().is_ok_and(|left: u32| left > 90_000)
    };
    eventually("90.5 s become 91 s", is_rounded_up).await;
    default.put("ours", &1).await?;
    default.put_many([("ours:1", 1)]).await?;
    for key in ["app:ours", "app:ours:1"] {
        let ttl = pair.redis.command(&["TTL", key]);
        ensure!([":3600", ":3599"].contains(&ttl.as_str()), "{key}: it is {ttl}");
    }
    let left = pair.cache.time_to_live("theirs").await?.context("no time to live")?;
    ensure!(left <= seconds(120) && left > seconds(100), "Larder says {left:?}");
    ensure!(pair.redis.calls_of("set") == 0, "a life was set otherwise");
    ensure!(pair.redis.calls_of("setex") >= 7, "a life was set otherwise");
    Ok(())
}

#[tokio::test]
async fn an_entry_ends_for_both_at_once() -> Result<()> {
    let pair = Pair::start().await?;
    pair.cache.entry("ours").ttl(seconds(1)).put("brief").await?;
    pair.node_sets("theirs", &"brief", 1).await?;
    ensure!(pair.node_gets("ours").await? == "brief", "it was never there");
    eventually("both have ended", async || pair.redis.command(&["DBSIZE"]) == ":0").await;
    ensure!(pair.node_gets("ours").await?.is_null(), "Node.js still gets it");
    ensure!(pair.cache.get::<String>("theirs").await?.is_none(), "Larder still gets it");
    Ok(())
}

#[tokio::test]
async fn null_is_an_absence_for_larder_and_a_miss_for_node() -> Result<()> {
    let pair = Pair::start().await?;
    let nothing = || async { Ok::<Option<String>, Infallible>(None) };
    ensure!(pair.cache.get_or_find("ours", nothing).await?.is_none(), "it was found");
    ensure!(pair.stored("app:ours") == "null", "it is {:?}", pair.stored("app:ours"));
    let (value, fetched) = pair.node_gets_or_sets("ours", json!("now there is one")).await?;
    ensure!(fetched && value == "now there is one", "Node.js took null for a value: {value}");

    pair.node_sets("theirs", &Value::Null, 60).await?;
    ensure!(pair.stored("app:theirs") == "null", "it is {:?}", pair.stored("app:theirs"));
    ensure!(pair.cache.lookup::<String>("theirs").await? == Lookup::Absent, "no absence");
    ensure!(pair.cache.get::<String>("theirs").await?.is_none(), "a value");
    let load = || async { Ok::<_, Infallible>(String::from("loaded")) };
    let loaded = pair.cache.get_or_load("theirs", load).await?;
    ensure!(*loaded == "loaded", "an absence was taken for an answer");
    ensure!(pair.node_gets("theirs").await? == "loaded", "Node.js does not get it");
    Ok(())
}

#[tokio::test]
async fn what_one_loads_is_a_hit_for_the_other() -> Result<()> {
    let pair = Pair::start().await?;
    let loaded = json!({ "id": 42, "name": "Zoë", "by": "Node.js" });
    let (value, fetched) = pair.node_gets_or_sets("user:42", loaded.clone()).await?;
    ensure!(fetched && value == loaded, "{value}");
    let never = || async { Err::<Value, _>(std::io::Error::other("Larder loaded a hit")) };
    ensure!(*pair.cache.get_or_load("user:42", never).await? == loaded, "another value");
    ensure!(pair.cache.stats().hits == 1, "{:?}", pair.cache.stats());

    let load = || async { Ok::<_, Infallible>(json!({ "id": 43, "by": "Larder" })) };
    let loaded = pair.cache.get_or_load("user:43", load).await?;
    let (value, fetched) = pair.node_gets_or_sets("user:43", json!("Node.js fetched")).await?;
    ensure!(!fetched && value == *loaded, "Node.js fetched a hit: {value}");
    Ok(())
}

#[tokio::test]
async fn what_one_removes_is_gone_for_the_other() -> Result<()> {
    let pair = Pair::start().await?;
    let Pair { redis, cache, .. } = &pair;
    let lists = ["users:page:1:limit:10", "users:page:2:limit:10"];
    for by_node in [true, false] {
        redis.command(&["FLUSHALL"]);
        redis.command(&["SET", "other:users:page:1:limit:10", "of another service"]);
        redis.command(&["SET", "users:page:1:limit:10", "of no service"]);
        cache.put("user:1", "by Larder").await?;
        pair.node_sets("user:2", &"by Node.js", 60).await?;
        cache.put(lists[0], "by Larder").await?;
        pair.node_sets(lists[1], &"by Node.js", 60).await?;

        if by_node {
            pair.node_deletes("/cache/user:1").await?;
            pair.node_deletes("/cache?pattern=users:*").await?;
            ensure!(cache.get::<String>("user:1").await?.is_none(), "Larder still has the user");
        } else {
            ensure!(cache.remove("user:2").await?, "there was nothing to remove");
            ensure!(cache.remove_matching("users:*").await? == 2, "not both lists");
            ensure!(pair.node_gets("user:2").await?.is_null(), "Node.js still has the user");
        }
        for list in lists {
            ensure!(pair.node_gets(list).await?.is_null(), "Node.js still has {list}");
            ensure!(cache.get::<String>(list).await?.is_none(), "Larder still has {list}");
        }
        // One user and two keys that are not theirs.
        ensure!(redis.command(&["DBSIZE"]) == ":3", "more was removed");
    }
    Ok(())
}

#[tokio::test]
async fn patterns_mean_the_same_to_both() -> Result<()> {
    let pair = Pair::start().await?;
    let keys = ["list:1", "list:2", "list:10", "list:a", "list:[1]", "list:*", "listing", "list:é"];
    for pattern in ["list:?", "list:[12]", "list:[^1]", "list:[a-z]", "l*:1*", "list:\\*", "*"] {
        let mut left = Vec::new();
        for by_node in [true, false] {
            pair.redis.command(&["FLUSHALL"]);
            pair.cache.put_many(keys.map(|key| (key, 1))).await?;
            if by_node {
                let escaped: String = pattern.bytes().map(|byte| format!("%{byte:02x}")).collect();
                pair.node_deletes(&format!("/cache?pattern={escaped}")).await?;
            } else {
                pair.cache.remove_matching(pattern).await?;
            }
            let found = pair.cache.get_many::<u8>(keys).await?;
            left.push(
                keys.iter()
                    .zip(found)
                    .filter(|(_, it)| it.is_some())
                    .map(|it| *it.0)
                    .collect::<Vec<_>>(),
            );
        }
        ensure!(
            left[0] == left[1],
            "{pattern}: Node.js leaves {:?}, Larder {:?}",
            left[0],
            left[1]
        );
        ensure!(left[0].len() < keys.len(), "{pattern} removes nothing");
    }
    Ok(())
}

/// Bytes that neither would write are a counted miss for Larder.
#[tokio::test]
async fn what_is_no_json_is_a_miss() -> Result<()> {
    let pair = Pair::start().await?;
    for junk in ["{\"id\":", "undefined", "\u{1}\u{2}", "[object Object]"] {
        pair.redis.command(&["SET", "app:junk", junk]);
        let load = || async { Ok::<_, Infallible>(json!("loaded anew")) };
        let loaded: Arc<Value> = pair.cache.get_or_load("junk", load).await?;
        ensure!(*loaded == "loaded anew", "{junk:?} was read as {loaded}");
        ensure!(pair.node_gets("junk").await? == "loaded anew", "it was not mended");
    }
    ensure!(pair.cache.stats().unreadable == 4, "{:?}", pair.cache.stats());
    Ok(())
}
