//! The two services.

use anyhow::Result;
use bytes::Bytes;
use http::{Method, StatusCode};
use larder_core::{Cache, Layout};
use larder_redis::RedisStore;
use larder_tests::http_client::{Answer, HttpClient};
use larder_tests::node_service::NodeService;
use larder_tests::redis_server::RedisServer;
use serde::Serialize;
use serde_json::{Value, json};

/// Both services on one Redis.
pub(crate) struct Pair {
    pub(crate) redis: RedisServer,
    pub(crate) node: HttpClient,
    pub(crate) cache: Cache,
    _service: NodeService,
}

impl Pair {
    pub(crate) async fn start() -> Result<Self> {
        let redis = RedisServer::start();
        let service = NodeService::start(&redis.url())?;
        let cache = Cache::builder(RedisStore::connect(redis.url()).await?)
            .namespace("app")
            .layout(Layout::Plain)
            .build()?;
        let node = HttpClient::new(service.base());
        Ok(Self { redis, node, cache, _service: service })
    }

    /// What `JSON.stringify` makes of a value that is written as `json`.
    pub(crate) async fn stringified(&self, json: &str) -> Result<String> {
        let body = format!("{{\"value\":{json}}}");
        Ok(self.send(Method::POST, "/stringify", body).await?.text())
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Answer> {
        let headers = [("content-type", "application/json")];
        let answer = self.node.send(method, path, &headers, Some(Bytes::from(body))).await?;
        answer.expect_status(StatusCode::OK)?;
        Ok(answer)
    }

    /// The service's `cache.get(key)`.
    pub(crate) async fn node_gets(&self, key: &str) -> Result<Value> {
        let answer = self.node.get(&format!("/cache/{key}")).await?;
        answer.expect_status(StatusCode::OK)?;
        member(&answer, "value")
    }

    /// The service's `cache.set(key, value, ttl)`.
    pub(crate) async fn node_sets<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        ttl: u32,
    ) -> Result<()> {
        let body = format!("{{\"value\":{}}}", serde_json::to_string(value)?);
        self.send(Method::PUT, &format!("/cache/{key}?ttl={ttl}"), body).await?;
        Ok(())
    }

    /// The service's `cache.getOrSet(key, async () => value)`, and whether it called the function.
    pub(crate) async fn node_gets_or_sets(&self, key: &str, value: Value) -> Result<(Value, bool)> {
        let path = format!("/cache/{key}?ttl=300");
        let answer = self.node.post(&path, &json!({ "value": value })).await?;
        answer.expect_status(StatusCode::OK)?;
        Ok((member(&answer, "value")?, member(&answer, "fetched")? == true))
    }

    pub(crate) async fn node_deletes(&self, path: &str) -> Result<()> {
        self.node.delete(path).await?.expect_status(StatusCode::OK)?;
        Ok(())
    }

    pub(crate) fn stored(&self, key: &str) -> String {
        self.redis.command(&["GET", key])
    }
}

fn member(answer: &Answer, name: &str) -> Result<Value> {
    let mut answer: Value = serde_json::from_slice(&answer.body)?;
    Ok(answer[name].take())
}
