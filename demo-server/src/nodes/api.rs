//! What the page asks of the nodes together.
//!
//! | request | what it does |
//! | --- | --- |
//! | `GET /api/v1/nodes` | tells of each node's bus |
//! | `GET /api/v1/nodes/users/{user}` | tells what each node answers for the user, and where from |
//! | `POST /api/v1/nodes/{node}/users/{user}` | gives the user another name at that node, and tells when each node answered with it |
//! | `POST /api/v1/nodes/{node}/bus/{way}` | makes the node's way to the bus `broken`, `silent` or `whole` |
//!
//! The latter two only for who sits at the servers' machine: see [`near`].

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::{join_all, try_join_all};
use larder_demo::model::UserChange;
use larder_demo::{App, Problem};
use serde_json::{Value, json};

use super::switch::Way;
use super::{Node, Nodes, near};

/// How long a node has to answer with the new name: longer than any of its bounds but that of the tier.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Clone)]
struct Here {
    nodes: Arc<Nodes>,
    number: usize,
}

/// The routes at the node of this number.
pub(super) fn routes(nodes: Arc<Nodes>, number: usize) -> Router {
    let is_near = nodes.are_near;
    let here = Here { nodes, number };
    Router::new()
        .route("/api/v1/nodes/{node}/users/{user}", post(rename))
        .route("/api/v1/nodes/{node}/bus/{way}", post(set_way))
        .route_layer(from_fn_with_state(is_near, near::only))
        .route("/api/v1/nodes", get(show))
        .route("/api/v1/nodes/users/{user}", get(ask))
        .with_state(here)
}

async fn show(State(Here { nodes, number }): State<Here>) -> Response {
    let shown: Vec<_> =
        nodes.nodes.iter().zip(1..).map(|(node, number)| node.shown(number)).collect();
    no_store(json!({ "here": number, "store": nodes.place, "nodes": shown }))
}

async fn ask(
    State(Here { nodes, .. }): State<Here>,
    Path(user): Path<String>,
) -> Result<Response, Problem> {
    let id = user_id(&user)?;
    let answers = nodes.nodes.iter().zip(1..).map(async |(node, number)| {
        let mut answer = node.answer(id).await?;
        answer["node"] = json!(number);
        Ok::<_, Problem>(answer)
    });
    let answers = try_join_all(answers).await?;
    Ok(no_store(json!({ "user": id, "answers": answers })))
}

async fn rename(
    State(Here { nodes, .. }): State<Here>,
    Path((node, user)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (number, node) = nodes.node(&node)?;
    let id = user_id(&user)?;
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let name: Arc<str> = format!("Zoë {:06}", since.as_millis() % 1_000_000).into();
    let change = UserChange { email: None, name: Some((*name).into()) };
    let started = Instant::now();
    let written = node.at(move |app| async move { app.update_user(id, change).await }).await??;
    if written.is_none() {
        let detail = format!("there is no user {id}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    let written = Instant::now();
    let seen = nodes.nodes.iter().zip(1..).map(async |(node, number)| {
        let seen = node.until_it_is_called(id, Arc::clone(&name), written).await;
        json!({ "node": number, "ms": seen.map(ms) })
    });
    let seen = join_all(seen).await;
    Ok(no_store(json!({
        "user": id,
        "name": &*name,
        "node": number,
        "writtenMs": ms(written - started),
        "seen": seen,
    })))
}

async fn set_way(
    State(Here { nodes, .. }): State<Here>,
    Path((node, way)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (number, node) = nodes.node(&node)?;
    let all = [Way::Whole, Way::Broken, Way::Silent];
    let way = all.into_iter().find(|it| it.as_str() == way).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "a bus is made whole, broken or silent")
    })?;
    node.bus.set(way);
    Ok(no_store(node.shown(number)))
}

impl Nodes {
    /// By its number, from 1 on.
    fn node(&self, number: &str) -> Result<(usize, &Node), Problem> {
        let found = self.nodes.iter().zip(1..).find(|(_, it)| it.to_string() == number);
        found.map(|(node, number)| (number, node)).ok_or_else(|| {
            let detail = format!("there is no such node; they are 1 to {}", self.nodes.len());
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }
}

impl Node {
    fn shown(&self, number: usize) -> Value {
        let bus = self.app.bus();
        json!({
            "node": number,
            "address": format!("http://{}", self.address),
            "bus": {
                "way": self.bus.way().as_str(),
                "trusted": bus.trusted,
                "received": bus.received,
                "gaps": bus.gaps,
                "checks": bus.checks,
                "waiting": bus.waiting,
            },
        })
    }

    async fn answer(&self, id: i64) -> Result<Value, Problem> {
        let answer = self.at(move |app| async move {
            let started = Instant::now();
            let (user, source) = app.user(id).await?;
            let name = user.as_ref().map(|user| &*user.name);
            let answer =
                json!({ "name": name, "from": source.as_str(), "ms": ms(started.elapsed()) });
            Ok(answer)
        });
        answer.await?
    }

    /// How long after `written` it answers with this name, if it does in time.
    async fn until_it_is_called(
        &self,
        id: i64,
        name: Arc<str>,
        written: Instant,
    ) -> Option<Duration> {
        let seen = self.at(move |app| async move {
            while written.elapsed() < PATIENCE {
                let user = app.user(id).await.ok().and_then(|(user, _)| user);
                if user.is_some_and(|user| *user.name == *name) {
                    return Some(written.elapsed());
                }
                tokio::time::sleep(PAUSE).await;
            }
            None
        });
        seen.await.ok().flatten()
    }

    /// Has the node do it, as it does what it is asked over the network.
    async fn at<T, Fut>(&self, work: impl FnOnce(App) -> Fut) -> Result<T, Problem>
    where
        T: Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let done = self.runtime.spawn(work(self.app.clone())).await;
        done.map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "this node is about to stop")
        })
    }
}

fn user_id(text: &str) -> Result<i64, Problem> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.ok_or_else(|| Problem::bad_request("user", "must be a whole number from 1 on"))
}

/// Milliseconds, to the microsecond.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn no_store(body: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
