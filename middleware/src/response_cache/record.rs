//! Taking a copy of a response as it passes, for those who wait for it and for the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use http::{StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use larder_core::{Leader, Runtime as _, Timestamp};

use super::find::Miss;
use super::layer::Shared;
use super::plain::PlainResponse;
use super::stored::{Stored, StoredResponse};
use super::variants::Variants;
use crate::policy::{self, Keep, Refusal};
use crate::session::Witness;

/// A response that is being copied. Dropped before its end, it frees its key.
pub(super) struct Recording {
    open: Option<Open>,
    copied: Copied,
    /// What `Content-Length` promised.
    declared: Option<u64>,
}

/// What a recording needs until it is completed or given up.
struct Open {
    shared: Arc<Shared>,
    leader: Box<Leader<Stored>>,
    key: String,
    head: Head,
    fresh_until: Timestamp,
    /// Whether the response was made with a look into a session.
    witness: Witness,
}

/// The part of the head that is stored.
enum Head {
    Full { status: StatusCode, headers: HeaderMap, generated_at: Timestamp },
    Plain { content_type: HeaderValue },
}

/// The head of the inner service's response has come: begins to copy the response if it may be
/// stored, or lets those go who wait for it.
pub(super) fn begin<B: Body>(
    miss: Miss,
    shared: &Arc<Shared>,
    response: &response::Parts,
    body: &B,
) -> Option<Recording> {
    let settings = &shared.settings;
    let now = settings.cache.runtime().now();
    let (status, headers) = (response.status, &response.headers);
    let witness = miss.witness.clone();
    let judged = policy::may_store(status, headers, miss.leader.started(), now, settings.ttl)
        .and_then(|keep| {
            // Whatever it says of itself.
            if witness.saw_use() {
                return Err(Refusal::Private);
            }
            let declared = fitting_length(headers, &body.size_hint(), settings.max_body_bytes)?;
            let head = if settings.is_plain() {
                plain_head(status, headers, &keep)?
            } else {
                full_head(status, headers, &keep, now)
            };
            Ok((keep, declared, head))
        });
    let (keep, declared, head) = match judged {
        Ok(judged) => judged,
        Err(why) => {
            refuse(shared, miss.leader, &miss.key, status, why);
            return None;
        }
    };
    let fresh_until = keep.fresh_until;
    let (leader, key) = place(miss, keep, shared, now)?;
    let open = Open { shared: Arc::clone(shared), leader, key, head, fresh_until, witness };
    let recording = Recording { open: Some(open), copied: Copied::Nothing, declared };
    if body.is_end_stream() { recording.ended() } else { Some(recording) }
}

/// The inner service failed: those who wait for it try for themselves.
pub(super) fn failed(miss: Miss, shared: &Shared) {
    shared.seen.meter.not_stored(Refusal::Failed);
    miss.leader.decline();
}

/// What `Content-Length` says, if neither that nor the body itself tells that it is too large.
fn fitting_length(
    headers: &HeaderMap,
    hint: &SizeHint,
    max_bytes: usize,
) -> Result<Option<u64>, Refusal> {
    let declared = policy::declared_length(headers)?;
    if declared.unwrap_or(0).max(hint.lower()) > max_bytes as u64 {
        return Err(Refusal::TooLarge);
    }
    Ok(declared)
}

fn full_head(status: StatusCode, headers: &HeaderMap, keep: &Keep, now: Timestamp) -> Head {
    let mut headers = policy::end_to_end(headers);
    if !headers.contains_key(DATE) {
        let date = std::time::UNIX_EPOCH + now.since(Timestamp::EPOCH);
        if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(date)) {
            headers.insert(DATE, date);
        }
    }
    Head::Full { status, headers, generated_at: keep.generated_at }
}

fn plain_head(status: StatusCode, headers: &HeaderMap, keep: &Keep) -> Result<Head, Refusal> {
    match headers.get(CONTENT_TYPE) {
        Some(content_type)
            if status == StatusCode::OK
                && keep.vary.is_empty()
                && !headers.contains_key(CONTENT_ENCODING) =>
        {
            Ok(Head::Plain { content_type: content_type.clone() })
        }
        _ => Err(Refusal::Layout),
    }
}

/// Where the response belongs: under the key that was looked up, or under that of a variant.
fn place(
    miss: Miss,
    keep: Keep,
    shared: &Arc<Shared>,
    now: Timestamp,
) -> Option<(Box<Leader<Stored>>, String)> {
    let Miss { leader, key, variant_of, request_headers, .. } = miss;
    let cache = &shared.settings.cache;
    let ttl = keep.fresh_until.since(now).max(shared.settings.ttl);
    match variant_of {
        None if keep.vary.is_empty() => Some((leader, key)),
        None => {
            let variants = Variants::new(keep.vary, now);
            let variant_key = variants.key(&key, &request_headers?);
            let Ok(of_variant) = leader.lead_beside(&variant_key) else {
                leader.decline();
                return None;
            };
            // Who waits learns the fields at once, and waits on only for its own variant.
            leader.complete(Arc::new(Stored::Variants(variants)), ttl);
            Some((Box::new(of_variant), variant_key))
        }
        Some((_, variants)) if variants.names.contains_all(&keep.vary) => Some((leader, key)),
        Some((resource, variants)) => {
            // The key was made from too few fields. It is left to the next response to be stored
            // under the right one: this one was asked for before the fields were known, and an
            // invalidation since then could not be told.
            let names = variants.names.union(&keep.vary);
            let widened = Stored::Variants(Variants::new(names, now));
            let cache = cache.clone();
            let runtime = Arc::clone(cache.runtime());
            runtime.spawn(Box::pin(async move {
                // Counted by the cache; without it the next response tries again.
                let _ = cache.entry(resource).ttl(ttl).put_raw(&widened).await;
            }));
            shared.seen.meter.not_stored(Refusal::Vary);
            leader.decline();
            None
        }
    }
}

fn refuse(
    shared: &Shared,
    leader: Box<Leader<Stored>>,
    key: &str,
    status: StatusCode,
    why: Refusal,
) {
    tracing::debug!(key, why = why.as_str(), "a response is not stored");
    shared.seen.meter.not_stored(why);
    // A server's failure passes, and a 304 is for one client: neither says that the next response
    // will not be for all.
    let passing = status.is_server_error()
        || status == StatusCode::NOT_MODIFIED
        || matches!(why, Refusal::Failed | Refusal::Abandoned);
    if !passing {
        let now = shared.settings.cache.runtime().now();
        shared.seen.uncacheable.remember(key, now);
    }
    leader.decline();
}

impl Recording {
    /// Goes on after a frame; `None` where this was the last to be copied.
    pub(super) fn and(mut self, frame: &Frame<Bytes>, is_last: bool) -> Option<Self> {
        let Some(data) = frame.data_ref() else { return self.give_up(Refusal::Trailers) };
        let max = self.open.as_ref()?.shared.settings.max_body_bytes;
        if self.copied.len() + data.len() > max {
            return self.give_up(Refusal::TooLarge);
        }
        self.copied.push(data);
        if is_last { self.ended() } else { Some(self) }
    }

    /// The body has ended: its copy is handed out and stored, if it is whole.
    pub(super) fn ended(mut self) -> Option<Self> {
        if self.declared.is_some_and(|declared| declared != self.copied.len() as u64) {
            return self.give_up(Refusal::Length);
        }
        let Open { leader, head, fresh_until, shared, key, witness } = self.open.take()?;
        if witness.saw_use() {
            refuse(&shared, leader, &key, StatusCode::OK, Refusal::Private);
            return None;
        }
        let body = std::mem::take(&mut self.copied).into_bytes();
        let stored = match head {
            Head::Full { status, headers, generated_at } => {
                Stored::Response(StoredResponse { status, headers, generated_at, body })
            }
            Head::Plain { content_type } => {
                let response = PlainResponse { content_type, body };
                if !response.is_text() {
                    refuse(&shared, leader, &key, StatusCode::OK, Refusal::Layout);
                    return None;
                }
                Stored::Plain(response)
            }
        };
        // The life counts from the claim.
        let ttl = fresh_until.since(leader.started());
        leader.complete(Arc::new(stored), ttl);
        None
    }

    /// The body failed.
    pub(super) fn failed(self) -> Option<Self> {
        self.give_up(Refusal::Failed)
    }

    fn give_up(mut self, why: Refusal) -> Option<Self> {
        let Open { shared, leader, key, .. } = self.open.take()?;
        refuse(&shared, leader, &key, StatusCode::OK, why);
        None
    }
}

impl Drop for Recording {
    /// A server that knows the length need not ask for the end of the body after the last byte.
    fn drop(&mut self) {
        if self.open.is_none() {
            return;
        }
        if self.declared == Some(self.copied.len() as u64) {
            let whole =
                Self { open: self.open.take(), copied: std::mem::take(&mut self.copied), ..*self };
            whole.ended();
        } else if let Some(open) = &self.open {
            open.shared.seen.meter.not_stored(Refusal::Abandoned);
        }
    }
}

/// The bytes so far. One frame, which is the rule, is shared with the client.
#[derive(Default)]
enum Copied {
    #[default]
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Copied {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: &Bytes) {
        match self {
            Self::Nothing => *self = Self::One(data.clone()),
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity((first.len() + data.len()) * 2);
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(data);
                *self = Self::Many(bytes);
            }
            Self::Many(bytes) => bytes.extend_from_slice(data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}
