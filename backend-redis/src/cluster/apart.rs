//! Requests, each to the node that it is for.

use futures::future::join_all;
use larder_core::StoreError;
use redis::{Arg, Cmd, ErrorKind, Pipeline, ServerErrorKind, Value};
use tokio::time::Instant;

use super::{Cluster, Place};
use crate::client::{Client, Request};
use crate::error::{from_redis, is_outage};
use crate::server::Failed;
use crate::slot;

/// How often one request is sent on from node to node.
const REDIRECTIONS: u32 = 5;

/// One call on a Cluster.
pub(crate) struct Apart<'a> {
    pub(crate) client: &'a Client,
    pub(crate) cluster: &'a Cluster,
    pub(crate) operation: &'static str,
    pub(crate) deadline: Instant,
}

impl Apart<'_> {
    /// Sends `request` to one node, and on to where that says that the keys are.
    pub(crate) async fn send<R: Request>(
        &self,
        place: Place<'_>,
        request: &R,
    ) -> Result<R::Reply, StoreError> {
        let cluster = self.cluster;
        let mut call = self.client.begin(self.operation, self.deadline);
        let mut redirections = REDIRECTIONS;
        let mut redirected = None;
        loop {
            let place = if redirected.is_some() { Place::Any } else { place };
            let server = match redirected.take() {
                Some(server) => server,
                None => cluster.server(place, &mut call).await?,
            };
            let left = cluster.left(place, &server);
            let outcome = server.call(&mut call, request, left).await;
            call.asking = false;
            match outcome {
                Ok(reply) => return Ok(reply),
                Err(Failed::Left) => {}
                Err(Failed::For(error)) => {
                    if is_outage(error.kind()) {
                        cluster.0.refresh(self.operation)?;
                    }
                    return Err(error);
                }
                Err(Failed::Elsewhere(error)) => {
                    let (Some((address, _)), 1..) = (error.redirect_node(), redirections) else {
                        return Err(from_redis(self.operation, &server.address, &error));
                    };
                    redirections -= 1;
                    redirected = Some(cluster.redirected(address, &server)?);
                    call.asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
                    if !call.asking {
                        cluster.0.refresh(self.operation)?;
                    }
                }
            }
        }
    }

    /// Sends each command to its node, those of one node in a pipeline; what came of each.
    pub(crate) async fn each(&self, pipeline: &Pipeline) -> Vec<Result<Value, StoreError>> {
        let mut call = self.client.begin(self.operation, self.deadline);
        let map = match self.cluster.masters(&mut call).await {
            Ok(map) => map,
            Err(error) => return pipeline.cmd_iter().map(|_| Err(error.clone())).collect(),
        };
        let mut parts: Vec<_> = map.masters.iter().map(|_| Part::default()).collect();
        let mut alone = Vec::new();
        for (index, command) in pipeline.cmd_iter().enumerate() {
            let master = slot::of_command(command).and_then(|slot| map.index_of(slot));
            match master.and_then(|master| parts.get_mut(master)) {
                Some(part) => part.commands.push((index, command)),
                None => alone.push((index, command)),
            }
        }
        parts.retain(|part| !part.commands.is_empty());
        let parts = join_all(parts.into_iter().map(|part| self.part(part)));
        let alone = join_all(alone.into_iter().map(|it| self.one(it)));
        let (parts, alone) = futures::join!(parts, alone);
        let mut replies: Vec<_> = parts.into_iter().flatten().chain(alone).collect();
        replies.sort_by_key(|(index, _)| *index);
        replies.into_iter().map(|(_, reply)| reply).collect()
    }

    async fn part(&self, part: Part<'_>) -> Vec<(usize, Result<Value, StoreError>)> {
        if let [one] = part.commands.as_slice() {
            return vec![self.one(*one).await];
        }
        let mut pipeline = Pipeline::with_capacity(part.commands.len());
        for (_, command) in &part.commands {
            pipeline.add_command((*command).clone());
        }
        // By slot, so that it follows a fail-over.
        let slot = part.commands.first().and_then(|(_, command)| slot::of_command(command));
        match self.send(Place::of(slot), &pipeline).await {
            Ok(replies) => {
                let mut done = Vec::with_capacity(replies.len());
                for ((index, command), reply) in part.commands.into_iter().zip(replies) {
                    done.push(if is_redirection(&reply) {
                        self.one((index, command)).await
                    } else {
                        (index, Ok(reply))
                    });
                }
                done
            }
            Err(error) => {
                part.commands.iter().map(|(index, _)| (*index, Err(error.clone()))).collect()
            }
        }
    }

    async fn one(&self, (index, command): (usize, &Cmd)) -> (usize, Result<Value, StoreError>) {
        let place = Place::of(slot::of_command(command));
        (index, self.send(place, command).await)
    }
}

/// The commands for one node, with their places among all.
#[derive(Default)]
struct Part<'a> {
    commands: Vec<(usize, &'a Cmd)>,
}

fn is_redirection(reply: &Value) -> bool {
    let Value::ServerError(error) = reply else { return false };
    matches!(error.kind(), Some(ServerErrorKind::Moved | ServerErrorKind::Ask))
}

/// A command about several keys, as one command for each.
///
/// Not one for each slot: keys of one slot are rare, and while a slot moves a command about two of
/// its keys may be answered by no node.
pub(crate) struct Split {
    commands: Pipeline,
    joins: Joins,
}

#[derive(Clone, Copy)]
enum Joins {
    Values,
    Numbers,
}

/// The command in parts, where it has several keys that need not be of one slot.
pub(crate) fn split(command: &Cmd) -> Option<Split> {
    let mut words = command.args_iter().filter_map(|word| match word {
        Arg::Simple(word) => Some(word),
        _ => None,
    });
    let (name, joins) = match words.next()? {
        b"MGET" => ("GET", Joins::Values),
        b"UNLINK" => ("UNLINK", Joins::Numbers),
        _ => return None,
    };
    let keys: Vec<&[u8]> = words.collect();
    if keys.len() < 2 {
        return None;
    }
    let mut commands = Pipeline::with_capacity(keys.len());
    for key in keys {
        commands.cmd(name).arg(key);
    }
    Some(Split { commands, joins })
}

impl Split {
    pub(crate) async fn send(&self, apart: &Apart<'_>) -> Result<Value, StoreError> {
        let replies = apart.each(&self.commands).await;
        let replies = replies.into_iter().map(|reply| match reply? {
            // As in an MGET.
            Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(Value::Nil),
            reply => {
                let address = &apart.client.address;
                reply.extract_error().map_err(|it| from_redis(apart.operation, address, &it))
            }
        });
        match self.joins {
            Joins::Values => Ok(Value::Array(replies.collect::<Result<_, _>>()?)),
            Joins::Numbers => replies
                .map(|reply| Ok(if let Value::Int(number) = reply? { number } else { 0 }))
                .sum::<Result<i64, _>>()
                .map(Value::Int),
        }
    }
}
