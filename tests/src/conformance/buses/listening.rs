//! Who hears what.

use larder_core::invalidation::{Channel, Gap, Heard, Subject};

use super::{Line, keys};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("buses::listening", "bus":
    everything_after_connected_is_heard_in_order [Need::Bus],
    who_publishes_hears_it_too [Need::Bus],
    every_handle_hears_the_others [Need::Bus],
    channels_are_apart [Need::Bus],
    nobody_needs_to_listen [Need::Bus],
    who_is_slow_is_told_what_it_missed [Need::Bus],
);

async fn everything_after_connected_is_heard_in_order(bench: Bench) -> CaseResult {
    let mut line = Line::larder(&bench)?;
    line.say(keys(&["before"])).await?;
    let mut listeners = [line.listener().await?, line.listener().await?];
    let mut said = Vec::new();
    for number in 0..100 {
        said.push(line.say(keys(&[&format!("key:{number}")])).await?);
    }
    for listener in &mut listeners {
        for notice in &said {
            ensure_eq!(listener.notice().await?, *notice, "what is heard next");
        }
    }
    Ok(())
}

async fn who_publishes_hears_it_too(bench: Bench) -> CaseResult {
    let mut line = Line::larder(&bench)?;
    let mut listener = line.listener().await?;
    let said = line.say(Subject::Alive).await?;
    ensure_eq!(listener.notice().await?, said, "what is heard");
    Ok(())
}

async fn every_handle_hears_the_others(bench: Bench) -> CaseResult {
    let mut line = Line::larder(&bench)?;
    let other = bench.another_handle_on_bus().await?;
    let mut here = line.listener().await?;
    let mut there = line.listener_on(&*other).await?;
    let first = line.say(keys(&["a"])).await?;
    ensure_eq!(here.notice().await?, first, "here");
    ensure_eq!(there.notice().await?, first, "there");
    line.bus = other;
    let second = line.say(keys(&["b"])).await?;
    ensure_eq!(here.notice().await?, second, "here, from there");
    ensure_eq!(there.notice().await?, second, "there, from there");
    Ok(())
}

async fn channels_are_apart(bench: Bench) -> CaseResult {
    let mut one = Line::larder(&bench)?;
    let mut other = Line::on(&bench, Channel::larder(bench.key("other:invalidate")))?;
    let mut listener = one.listener().await?;
    other.say(keys(&["other"])).await?;
    let said = one.say(keys(&["own"])).await?;
    ensure_eq!(listener.notice().await?, said, "what is heard");
    Ok(())
}

async fn nobody_needs_to_listen(bench: Bench) -> CaseResult {
    let mut line = Line::larder(&bench)?;
    line.say(keys(&["a"])).await?;
    drop(line.listener().await?);
    line.say(keys(&["b"])).await?;
    let mut listener = line.listener().await?;
    let said = line.say(keys(&["c"])).await?;
    ensure_eq!(listener.notice().await?, said, "what is heard by the next");
    Ok(())
}

async fn who_is_slow_is_told_what_it_missed(bench: Bench) -> CaseResult {
    let mut line = Line::larder(&bench)?;
    let mut listener = line.listener().await?;
    let mut last = line.say(Subject::Everything).await?;
    for _ in 0..2_000 {
        last = line.say(keys(&["a"])).await?;
    }
    let mut expected = 1;
    loop {
        match listener.next().await? {
            Heard::Gap(Gap::Overflow) => expected = 0,
            Heard::Notice(notice) => {
                let number = notice.origin.map_or(0, |origin| origin.sequence);
                ensure!(
                    expected == 0 || number == expected,
                    "after {expected} − 1 comes {number}, and nothing was said of it"
                );
                expected = number + 1;
                if notice == last {
                    return Ok(());
                }
            }
            other => ensure!(false, "it hears {other:?}"),
        }
    }
}
