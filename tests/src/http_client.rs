//! A small HTTP client, and answers that say of themselves what is wrong with them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// No answer of a test's server takes this long, unless it is told so.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of one server. Connections are kept; clones share them.
#[derive(Debug, Clone)]
pub struct HttpClient {
    base: Arc<str>,
    http: Client<HttpConnector, Full<Bytes>>,
    patience: Duration,
}

impl HttpClient {
    /// Of the server at `base`, as in `http://127.0.0.1:8787`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { base: base.trim_end_matches('/').into(), http, patience: PATIENCE }
    }

    /// Where the server is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Waits so long for an answer, instead of 30 seconds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// `GET path`.
    ///
    /// # Errors
    ///
    /// Where there is no answer in time.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], None).await
    }

    /// `GET path` with headers.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send(Method::GET, path, headers, None).await
    }

    /// `HEAD path`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn head(&self, path: &str) -> Result<Answer> {
        self.send(Method::HEAD, path, &[], None).await
    }

    /// `PUT path` with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send_json(Method::PUT, path, body).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send_json(Method::POST, path, body).await
    }

    /// `DELETE path`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, &[], None).await
    }

    async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, Some(body.to_string().into())).await
    }

    /// Any request. `path` begins with `/` and may have a query.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer> {
        let sent = format!("{method} {path}");
        let patience = self.patience;
        let answer = tokio::time::timeout(patience, self.exchange(method, path, headers, body));
        let answer = answer.await.with_context(|| format!("{sent}: no answer in {patience:?}"))?;
        let (status, headers, body) = answer.with_context(|| sent.clone())?;
        Ok(Answer { sent, status, headers, body })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<(StatusCode, HeaderMap, Bytes)> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        let (head, body) = self.http.request(request).await?.into_parts();
        Ok((head.status, head.headers, body.collect().await?.to_bytes()))
    }
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    sent: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The first header of this name, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, as far as it is text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails unless it has this status.
    ///
    /// # Errors
    ///
    /// That, with the body.
    pub fn expect_status(&self, status: StatusCode) -> Result<&Self> {
        let Self { sent, status: got, .. } = self;
        ensure!(*got == status, "{sent}: the status is {got}, not {status}: {}", self.text());
        Ok(self)
    }

    /// Fails unless it has this header with this value.
    ///
    /// # Errors
    ///
    /// That.
    pub fn expect_header(&self, name: &str, value: &str) -> Result<&Self> {
        let got = self.header(name);
        ensure!(got == Some(value), "{}: {name} is {got:?}, not {value:?}", self.sent);
        Ok(self)
    }

    /// Fails if it has this header.
    ///
    /// # Errors
    ///
    /// That.
    pub fn expect_no_header(&self, name: &str) -> Result<&Self> {
        let got = self.header(name);
        ensure!(got.is_none(), "{}: it has {name}: {got:?}", self.sent);
        Ok(self)
    }

    /// Fails unless it is a 200 with this `X-Cache`.
    ///
    /// # Errors
    ///
    /// That.
    pub fn expect_cache(&self, word: &str) -> Result<&Self> {
        self.expect_status(StatusCode::OK)?.expect_header("x-cache", word)
    }

    /// The body, of a 200 with `Content-Type: application/json`.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn json(&self) -> Result<Value> {
        self.expect_status(StatusCode::OK)?.parsed("application/json")
    }

    /// The body, of a problem (RFC 9457) that names these fields, in any order.
    ///
    /// # Errors
    ///
    /// Where it is no complete problem, may be stored on its way, names other fields, or is a 401
    /// without a challenge.
    pub fn problem(&self, status: StatusCode, fields: &[&str]) -> Result<Value> {
        let sent = &self.sent;
        self.expect_status(status)?.expect_header("cache-control", "no-store")?;
        if status == StatusCode::UNAUTHORIZED {
            self.expect_header("www-authenticate", "Cookie")?;
        }
        let problem = self.parsed("application/problem+json")?;
        let title = status.canonical_reason().unwrap_or_default();
        ensure!(problem["type"] == "about:blank", "{sent}: type of {problem}");
        ensure!(problem["title"] == title, "{sent}: title of {problem}");
        ensure!(problem["status"] == status.as_u16(), "{sent}: status of {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        ensure!(!detail.is_empty(), "{sent}: detail of {problem}");
        let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut named = Vec::new();
        for error in errors {
            let (Some(field), Some(said)) = (error["field"].as_str(), error["detail"].as_str())
            else {
                bail!("{sent}: an error without a field or a detail in {problem}");
            };
            ensure!(detail.contains(said), "{sent}: {said:?} is not in the detail of {problem}");
            named.push(field);
        }
        named.sort_unstable();
        let mut expected = fields.to_vec();
        expected.sort_unstable();
        ensure!(named == expected, "{sent}: it names {named:?}, not {expected:?}");
        Ok(problem)
    }

    fn parsed(&self, content_type: &str) -> Result<Value> {
        self.expect_header(header::CONTENT_TYPE.as_str(), content_type)?;
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: no JSON: {}", self.sent, self.text()))
    }
}
