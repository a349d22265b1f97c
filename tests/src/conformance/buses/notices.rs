//! What goes over a bus.

use larder_core::Glob;
use larder_core::invalidation::{Channel, Notice, Subject};

use super::{Line, keys};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("buses::notices", "bus":
    a_notice_arrives_as_it_was_sent [Need::Bus],
    one_of_many_keys_arrives [Need::Bus],
    a_pattern_goes_in_the_plain_form [Need::Bus],
);

async fn a_notice_arrives_as_it_was_sent(bench: Bench) -> CaseResult {
    let mut line = Line::larder(&bench)?;
    let mut listener = line.listener().await?;
    for subject in [
        Subject::Alive,
        keys(&["app:user:42", "app:user:Zoë", "with\r\nbreaks"]),
        keys(&[]),
        Subject::Patterns(vec!["app:users:*".into(), Glob::literal("what?")]),
        Subject::Tags(vec!["app:larder-tag:users".into()]),
        Subject::Everything,
        Subject::Withdrawn(vec!["app:user:7".into()]),
        Subject::Farewell,
    ] {
        let said = line.say(subject).await?;
        ensure_eq!(listener.notice().await?, said, "what is heard");
    }
    Ok(())
}

async fn one_of_many_keys_arrives(bench: Bench) -> CaseResult {
    let mut line = Line::larder(&bench)?;
    let mut listener = line.listener().await?;
    let said = line.say(Subject::Keys(bench.keys(10_000))).await?;
    ensure!(listener.notice().await? == said, "it arrived as another");
    Ok(())
}

async fn a_pattern_goes_in_the_plain_form(bench: Bench) -> CaseResult {
    let line = Line::on(&bench, Channel::plain(bench.key("cache:invalidate")))?;
    let mut listener = line.listener().await?;
    for pattern in ["users:*", "user:[0-9]?", r"what\?"] {
        let notice = Notice::anonymous(Subject::Patterns(vec![pattern.into()]));
        line.bus.publish(&line.channel, &notice).await?;
        ensure_eq!(listener.notice().await?, notice, "what is heard");
    }
    Ok(())
}
