//! A scan over all masters, one after the other.
//!
//! A key that moves from a master that was not scanned yet to one that was would be missed. Where
//! slots moved meanwhile, or are on their way at the end, all masters are scanned a second time: a
//! key that moves once is where it was during the whole first pass, or where it is now during the
//! whole second one. Where a master was replaced, whose positions mean nothing to its successor,
//! the scan begins anew.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use larder_core::{Cursor, Glob, ScanPage, StoreError, StoreErrorKind};
use redis::{Cmd, Value};

use super::map::fingerprint;
use super::{Apart, Place};
use crate::config::Node;
use crate::error::STORE;
use crate::scan;
use crate::server::Server;

/// How often the masters are asked where one of them is none, or another has slots.
const SURVEYS: usize = 3;

/// The masters at one moment.
pub(super) struct Survey {
    /// Those without slots too: what is on its way to them is there.
    masters: Vec<Arc<Server>>,
    /// Another when a master is another.
    of_masters: u64,
    /// Another when a slot is elsewhere.
    of_slots: u64,
    is_moving: bool,
}

/// What one master says to `CLUSTER NODES`.
struct Said {
    id: String,
    is_master: bool,
    slots: Vec<String>,
    /// The other masters that have slots, by their ids.
    others: BTreeSet<String>,
    /// Masters without slots, wherever they are.
    bare: BTreeSet<Node>,
}

/// Where a scan goes on.
#[derive(Clone, Copy)]
struct Position {
    is_second_pass: bool,
    of_masters: u64,
    /// At the beginning of the first pass.
    of_slots: u64,
    index: usize,
    cursor: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_second_pass, of_masters, of_slots, index, cursor } = self;
        write!(f, "{}.{of_masters}.{of_slots}.{index}.{cursor}", u8::from(*is_second_pass))
    }
}

impl Position {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut next = || parts.next()?.parse::<u64>().ok();
        let (pass, of_masters, of_slots) = (next()?, next()?, next()?);
        let (index, cursor) = (usize::try_from(next()?).ok()?, next()?);
        let is_second_pass = pass == 1;
        Some(Self { is_second_pass, of_masters, of_slots, index, cursor })
    }

    fn first(survey: &Survey, is_second_pass: bool) -> Self {
        let Survey { of_masters, of_slots, .. } = *survey;
        Self { is_second_pass, of_masters, of_slots, index: 0, cursor: 0 }
    }

    /// What comes after a pass over all masters, as they are `now`; nothing after the last one.
    fn after(self, now: &Survey) -> Option<Self> {
        if now.of_masters != self.of_masters {
            return Some(Self::first(now, false));
        }
        let moved = now.is_moving || now.of_slots != self.of_slots;
        (moved && !self.is_second_pass).then(|| Self::first(now, true))
    }
}

impl Apart<'_> {
    /// Asks every master whether it is there.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        let mut call = self.client.begin(self.operation, self.deadline);
        let map = self.cluster.masters(&mut call).await?;
        let ping = redis::cmd("PING");
        let pings = map.masters.iter().map(|server| self.send(Place::At(server), &ping));
        try_join_all(pings).await.map(drop)
    }

    /// One page.
    pub(crate) async fn scan(
        &self,
        pattern: &Glob,
        cursor: Option<&Cursor>,
    ) -> Result<ScanPage, StoreError> {
        let position = match cursor {
            None => None,
            Some(cursor) => Some(Position::parse(cursor.position()).ok_or_else(|| {
                let detail = "the cursor comes from another store";
                StoreError::new(StoreErrorKind::Other, STORE, self.operation, detail)
            })?),
        };
        let page = self.page(pattern, position).await;
        if page.is_err() {
            *self.cluster.lock_survey() = None;
        }
        page
    }

    async fn page(
        &self,
        pattern: &Glob,
        position: Option<Position>,
    ) -> Result<ScanPage, StoreError> {
        let survey = self.survey_of(position).await?;
        let mut position = position
            .filter(|position| position.of_masters == survey.of_masters)
            .unwrap_or_else(|| Position::first(&survey, false));
        let Some(server) = survey.masters.get(position.index) else {
            return Ok(ScanPage { keys: Vec::new(), next: None });
        };
        let here = Cursor::new(position.cursor.to_string());
        let command = scan::command(pattern, Some(&here))?;
        let reply = self.send(Place::At(server), &command).await?;
        let page = scan::page(reply).map_err(|it| self.client.unexpected(self.operation, &it))?;
        position.cursor = match page.next {
            Some(next) => next.position().parse().unwrap_or_default(),
            None => 0,
        };
        let mut next = Some(position);
        if position.cursor == 0 {
            position.index += 1;
            next = Some(position);
            if position.index == survey.masters.len() {
                next = self.after(position).await?;
            }
        }
        let next = next.map(|position| Cursor::new(position.to_string()));
        Ok(ScanPage { keys: page.keys, next })
    }

    /// What comes after all masters were scanned.
    async fn after(&self, position: Position) -> Result<Option<Position>, StoreError> {
        let now = self.survey().await?;
        let next = position.after(&now);
        if next.is_none() {
            *self.cluster.lock_survey() = None;
        }
        Ok(next)
    }

    /// The masters that the position was among, where they are still known.
    async fn survey_of(&self, position: Option<Position>) -> Result<Arc<Survey>, StoreError> {
        if let Some(position) = position
            && let Some(survey) = &*self.cluster.lock_survey()
            && survey.of_masters == position.of_masters
        {
            return Ok(Arc::clone(survey));
        }
        self.survey().await
    }

    async fn survey(&self) -> Result<Arc<Survey>, StoreError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("NODES");
        let mut call = self.client.begin(self.operation, self.deadline);
        for _ in 0..SURVEYS {
            let map = self.cluster.masters(&mut call).await?;
            let asked = map.masters.iter().map(|server| self.ask(server, &command));
            let said: Vec<Said> =
                join_all(asked).await.into_iter().collect::<Result<_, StoreError>>()?;
            let ids: BTreeSet<_> = said.iter().map(|it| &it.id).collect();
            let others = said.iter().flat_map(|it| &it.others);
            if said.iter().any(|it| !it.is_master) || others.into_iter().any(|it| !ids.contains(it))
            {
                self.cluster.reread(&mut call).await?;
                continue;
            }
            let mut masters = map.masters.clone();
            for node in said.iter().flat_map(|it| &it.bare).collect::<BTreeSet<_>>() {
                masters.push(self.cluster.node(node)?);
            }
            let addresses: Vec<_> = masters.iter().map(|it| &it.address).collect();
            let slots: Vec<_> = said.iter().map(|it| (&it.id, &it.slots)).collect();
            let is_moving = said.iter().flat_map(|it| &it.slots).any(|it| it.starts_with('['));
            let survey = Arc::new(Survey {
                of_masters: fingerprint(&(ids, addresses)),
                of_slots: fingerprint(&slots),
                is_moving,
                masters,
            });
            *self.cluster.lock_survey() = Some(Arc::clone(&survey));
            return Ok(survey);
        }
        let detail = "the Cluster's masters change; a fail-over may be under way";
        Err(StoreError::new(StoreErrorKind::Unavailable, STORE, self.operation, detail))
    }

    async fn ask(&self, server: &Arc<Server>, command: &Cmd) -> Result<Said, StoreError> {
        let reply = self.send(Place::At(server), command).await?;
        let text = match &reply {
            Value::BulkString(text) => String::from_utf8_lossy(text),
            Value::VerbatimString { text, .. } => text.as_str().into(),
            other => return Err(self.client.unexpected(self.operation, other)),
        };
        said(&text).ok_or_else(|| self.client.unexpected(self.operation, &reply))
    }
}

/// Reads `id address flags master ping pong epoch state slot…`, a line for each node.
fn said(text: &str) -> Option<Said> {
    let mut myself = None;
    let (mut others, mut bare) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        let (id, address, flags) = (words.next()?, words.next()?, words.next()?);
        let slots: Vec<&str> = words.skip(5).filter(|word| !word.is_empty()).collect();
        let has = |flag: &str| flags.split(',').any(|it| it == flag);
        if has("myself") {
            let slots = slots.iter().map(|&slot| slot.to_owned()).collect();
            myself = Some((id.to_owned(), has("master"), slots));
        } else if !has("master") || ["fail", "handshake", "noaddr"].into_iter().any(has) {
            continue;
        } else if !slots.is_empty() {
            others.insert(id.to_owned());
        } else {
            // The port of the Cluster's own bus and names come behind.
            let address = address.split(['@', ',']).next()?;
            let (host, port) = address.rsplit_once(':')?;
            bare.insert(Node { host: host.to_owned(), port: port.parse().ok()? });
        }
    }
    let (id, is_master, slots) = myself?;
    Some(Said { id, is_master, slots, others, bare })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tells_of_itself_and_of_masters_without_slots() {
        let text = "\
07c3 127.0.0.1:30004@31004,name slave e7d1 0 1426238317239 4 connected\n\
67ed 127.0.0.1:30002@31002,name master - 0 1426238316232 2 connected 5461-10922\n\
292f 10.0.0.3:30003@31003 master - 0 1426238318243 3 connected\n\
6ec2 10.0.0.4:30005@31005 master,fail - 0 1426238316232 5 disconnected\n\
e7d1 :30001@31001,name myself,master - 0 0 1 connected 0-5460 [93->-292f]\n";
        let said = said(text).unwrap();
        assert_eq!(said.id, "e7d1");
        assert!(said.is_master);
        assert_eq!(said.slots, ["0-5460", "[93->-292f]"]);
        assert_eq!(said.others, BTreeSet::from(["67ed".to_owned()]));
        let bare: Vec<_> = said.bare.iter().map(Node::to_string).collect();
        assert_eq!(bare, ["10.0.0.3:30003"]);
    }

    #[test]
    fn a_second_pass_follows_only_a_whole_first_one() {
        let survey = |of_masters, of_slots, is_moving| Survey {
            masters: Vec::new(),
            of_masters,
            of_slots,
            is_moving,
        };
        let first = Position::first(&survey(1, 1, false), false);
        let second = Position::first(&survey(1, 1, false), true);
        let after =
            |position: Position, now: Survey| position.after(&now).map(|it| it.is_second_pass);
        assert_eq!(after(first, survey(1, 1, false)), None);
        assert_eq!(after(first, survey(1, 2, false)), Some(true), "slots have moved");
        assert_eq!(after(first, survey(1, 1, true)), Some(true), "slots are on their way");
        assert_eq!(after(second, survey(1, 3, true)), None);
        assert_eq!(after(first, survey(2, 2, false)), Some(false), "a master is another");
        assert_eq!(after(second, survey(2, 2, false)), Some(false), "a master is another");
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let text = format!("1.{}.7.2.{}", u64::MAX, u64::MAX);
        assert_eq!(Position::parse(&text).unwrap().to_string(), text);
        for foreign in ["", "17", "a:42", "1.2.3.4", "1.2.3.4.x"] {
            assert!(Position::parse(foreign).is_none(), "{foreign}");
        }
    }
}
