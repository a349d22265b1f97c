//! Bodies that stream, fail, are too large, or are not what they were said to be.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use larder_core::{Cache, MemoryStore, Runtime, VirtualRuntime, seconds};
use larder_http::ResponseCache;
use tower::{Layer, ServiceExt};

use super::origin::{Answer, Origin, World, full, get, read, text, with};
use crate::runtime::test;

/// A body of unknown length, of which a part comes every `pause`.
pub(crate) fn streamed(
    runtime: &VirtualRuntime,
    pause: Duration,
    parts: &[&'static str],
) -> Answer {
    let runtime = runtime.clone();
    let parts = futures::stream::iter(parts.to_vec()).then(move |part| {
        let sleep = runtime.sleep(pause);
        async move {
            sleep.await;
            Ok::<_, io::Error>(Frame::data(Bytes::from_static(part.as_bytes())))
        }
    });
    Response::new(StreamBody::new(parts).boxed_unsync())
}

fn frames(frames: fn() -> Vec<io::Result<Frame<Bytes>>>) -> Origin {
    Origin::new(move |_| {
        Response::new(StreamBody::new(futures::stream::iter(frames())).boxed_unsync())
    })
}

fn data(text: &'static str) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[test]
fn a_body_of_unknown_length_is_stored_if_it_ends_within_the_limit() {
    let origin = frames(|| vec![data("abc"), data("de"), data("")]);
    World::layered(origin, |layer| layer.max_body_bytes(5)).run(async |world| {
        assert_eq!(world.get("/").await.text(), "abcde");
        let seen = world.get("/").await;
        assert_eq!((seen.cache(), seen.text()), ("HIT", "abcde"));
    });
}

#[test]
fn a_body_of_unknown_length_over_the_limit_passes_and_is_not_stored() {
    let origin = frames(|| vec![data("abc"), data("def"), data("ghi")]);
    World::layered(origin, |layer| layer.max_body_bytes(5)).run(async |world| {
        for _ in 0..2 {
            let seen = world.get("/").await;
            assert_eq!((seen.cache(), seen.text()), ("MISS", "abcdefghi"));
        }
    });
}

#[test]
fn every_part_is_passed_on_as_it_comes() {
    let runtime = VirtualRuntime::seeded(1);
    let clock = runtime.clone();
    let origin = Origin::new(move |_| streamed(&clock, seconds(1), &["a", "b", "c"]));
    let store = MemoryStore::builder().on(runtime.clone());
    for limit in [1, 100] {
        let layer = |layer: ResponseCache| layer.max_body_bytes(limit);
        World::on(&runtime, Cache::builder(store.clone()), origin.clone(), layer).run(
            async |world| {
                let start = world.runtime.now();
                let mut response = world.head_of(get("/", &[])).await;
                assert_eq!(world.runtime.now(), start);
                for n in 1..=3 {
                    response.body_mut().frame().await.unwrap().unwrap();
                    assert_eq!(world.runtime.now().since(start), seconds(n));
                }
            },
        );
    }
}

#[test]
fn a_body_that_is_known_to_be_too_large_lets_those_go_who_wait() {
    let origin = Origin::new(|_| text("123456"));
    World::layered(origin, |layer| layer.max_body_bytes(5)).run(async |world| {
        let start = world.runtime.now();
        let unread = world.head_of(get("/", &[])).await;
        assert_eq!(world.get("/").await.cache(), "MISS");
        assert!(world.runtime.now().since(start) < seconds(1));
        drop(unread);
    });
    let origin = Origin::new(|_| text("12345"));
    World::layered(origin, |layer| layer.max_body_bytes(5)).run(async |world| {
        world.get("/").await;
        assert_eq!(world.get("/").await.cache(), "HIT");
    });
}

#[test]
fn a_body_that_fails_is_passed_on_and_not_stored() {
    let origin = frames(|| vec![data("abc"), Err(io::Error::other("broken")), data("def")]);
    World::new(origin).run(async |world| {
        for _ in 0..2 {
            let mut response = world.head_of(get("/", &[])).await;
            assert_eq!(response.headers()["x-cache"], "MISS");
            let body = response.body_mut();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
            assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "broken");
            drop(response);
            world.settle().await;
        }
    });
}

#[test]
fn trailers_are_passed_on_and_the_response_is_not_stored() {
    let origin = frames(|| {
        let trailers =
            HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
        vec![data("abc"), Ok(Frame::trailers(trailers))]
    });
    World::new(origin).run(async |world| {
        for _ in 0..2 {
            let response = world.head_of(get("/", &[])).await;
            assert_eq!(response.headers()["x-cache"], "MISS");
            let collected = response.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
            world.settle().await;
        }
    });
}

#[test]
fn a_body_of_another_length_than_it_said_is_not_stored() {
    for length in ["2", "4", "3, 3", "x"] {
        let origin = Origin::new(move |_| {
            let frames = futures::stream::iter([data("ab"), data("c")]);
            let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
            response.headers_mut().insert("content-length", HeaderValue::from_static(length));
            response
        });
        World::new(origin).run(async |world| {
            world.get("/").await;
            assert_eq!(world.get("/").await.cache(), "MISS", "{length}");
        });
    }
}

#[test]
fn a_server_may_stop_to_read_after_the_last_byte() {
    let origin = Origin::new(|_| {
        let frames = futures::stream::iter([data("ab"), data("c")]);
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response.headers_mut().insert("content-length", HeaderValue::from_static("3"));
        response
    });
    World::new(origin).run(async |world| {
        let ask = async |parts| {
            let mut response = world.head_of(get("/", &[])).await;
            for _ in 0..parts {
                response.body_mut().frame().await.unwrap().unwrap();
            }
            drop(response);
            world.settle().await;
        };
        ask(1).await;
        assert_eq!(world.origin.calls(), 1);
        ask(2).await;
        assert_eq!(world.origin.calls(), 2);
        assert_eq!(world.get("/").await.cache(), "HIT");
    });
}

#[test]
fn a_body_that_tells_its_end_is_stored_with_its_last_part() {
    World::new(Origin::new(|_| text("abc"))).run(async |world| {
        let mut response = world.head_of(get("/", &[])).await;
        assert_eq!(response.body().size_hint().exact(), Some(3));
        response.body_mut().frame().await.unwrap().unwrap();
        assert!(response.body().is_end_stream());
        drop(response);
        let hit = world.head_of(get("/", &[])).await;
        assert_eq!(hit.headers()["x-cache"], "HIT");
        assert_eq!(hit.body().size_hint().exact(), Some(3));
        assert!(!hit.body().is_end_stream());
        assert_eq!(read(hit).await.unwrap().text(), "abc");
    });
}

/// A body whose data is not `Bytes`, whose error is its own, and which cannot be moved.
struct Odd(VecDeque<u8>, std::marker::PhantomPinned);

impl http_body::Body for Odd {
    type Data = VecDeque<u8>;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<VecDeque<u8>>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

#[test]
fn any_body_will_do() {
    let runtime = VirtualRuntime::seeded(1);
    let store = MemoryStore::builder().on(runtime.clone());
    let layer = ResponseCache::new(Cache::builder(store).build().unwrap());
    let odd = layer.layer(tower::service_fn(|_: http::Request<()>| async {
        Ok::<_, Infallible>(Response::new(Odd(VecDeque::new(), std::marker::PhantomPinned)))
    }));
    let of_vecs = layer.layer(tower::service_fn(|_: http::Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::new(VecDeque::from(*b"abc"))))
    }));
    runtime.block_on(async {
        let response = odd.oneshot(get("/odd", &[])).await.unwrap();
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        let response = of_vecs.clone().oneshot(get("/vecs", &[])).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
        let response = of_vecs.oneshot(get("/vecs", &[])).await.unwrap();
        assert_eq!(response.headers()["x-cache"], "HIT");
    });
}

#[test]
fn binary_bodies_and_their_encoding_are_kept() {
    let origin = Origin::new(|_| {
        let mut response = with("", &[("content-encoding", "gzip")]);
        *response.body_mut() = full(Bytes::from_static(b"\x1f\x8b\x00\xff"));
        response
    });
    World::new(origin).run(async |world| {
        world.get("/").await;
        let hit = world.get("/").await;
        assert_eq!((hit.cache(), hit.header("content-encoding")), ("HIT", Some("gzip")));
        assert_eq!(hit.body, &b"\x1f\x8b\x00\xff"[..]);
    });
}
