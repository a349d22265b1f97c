//! A Worker that runs the conformance suite on its own bindings, and answers JSON.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /cases` | the names of all cases |
//! | `GET /run/{backend}/{case}` | the [`CaseReport`](larder_tests::conformance::CaseReport) of a case on `memory`, `kv`, `kv-local` or `durable` |
//! | `GET /claims/{backend}` | what its stores say of themselves |
//! | `GET /load/{backend}/{key}?ms=` | the value of a load that takes so long; with `&ends_with_client` the request is not run to its end |
//! | `GET /loads/{key}` | how often this isolate has loaded the key |
//! | `GET /take/{key}?limit=` | whether rate limits on Durable Objects allow one of so many an hour: `allowed` or `refused` |
//! | `GET /histories?from=&to=` | how many checks histories of these seeds had in an object's storage, see `limits` |
//! | `GET /sessions/…?user=` | see `sessions` |
//! | `GET /probe/{name}` | see `probes` |

mod backends;
mod coalescing;
mod limits;
mod probes;
mod sessions;

use larder_core::{RateLimitStore, SessionStore};
use larder_kv::WorkerRuntime;
use larder_tests::conformance::{self, Claims};
use worker::{Context, Env, Request, Response, Result, Url, event};

larder_kv::durable_object!(LarderObject);

#[event(fetch)]
async fn fetch(request: Request, env: Env, ctx: Context) -> Result<Response> {
    let runtime = WorkerRuntime::with_calls(&ctx, u32::MAX);
    let url = request.url()?;
    let path: Vec<String> =
        url.path_segments().map(|s| s.map(decoded).collect()).unwrap_or_default();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["cases"] => {
            let names: Vec<&str> = conformance::cases().map(|case| case.name).collect();
            Response::from_json(&names)
        }
        ["run", backend, case] => {
            let Some(case) = conformance::cases().find(|known| known.name == case) else {
                return Response::error(format!("there is no case {case:?}"), 404);
            };
            let backend = backends::backend(backend, &env, &runtime)?;
            Response::from_json(&conformance::run(&backend, case).await)
        }
        ["claims", backend] => {
            let store = backends::store(backend, &env, &runtime)?;
            let claims = Claims::from(store.capabilities());
            let limits = backends::limits(backend, &env, &runtime)?;
            let sessions = backends::sessions(backend, &env, &runtime)?;
            let claims = claims.counting(limits.capabilities());
            Response::from_json(&claims.keeping(sessions.capabilities()))
        }
        ["load", backend, key] => {
            let ms = number(&url, "ms");
            let ends_with_client = asked(&url, "ends_with_client").is_some();
            let (backend, key) = (backend.to_owned(), key.to_owned());
            let work = runtime.clone();
            let load = async move { coalescing::load(&backend, &env, &work, &key, ms).await };
            if ends_with_client {
                return Response::ok(load.await?);
            }
            Response::ok(runtime.run_to_end(load).await??)
        }
        ["loads", key] => Response::ok(coalescing::loads(key).to_string()),
        ["take", key] => {
            let limit = number(&url, "limit");
            Response::ok(limits::take(&env, &runtime, key, limit).await?)
        }
        ["histories"] => {
            let object = env.durable_object("HISTORIES")?.get_by_name("histories")?;
            object.fetch_with_request(request).await
        }
        ["sessions", ref path @ ..] => {
            Response::from_json(&sessions::answer(path, &url, &env, &runtime).await?)
        }
        ["probe", name] => Response::from_json(&probes::probe(name, &env, &ctx, &url).await?),
        _ => Response::error("not found", 404),
    }
}

fn asked(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

fn number(url: &Url, name: &str) -> u64 {
    asked(url, name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn decoded(segment: &str) -> String {
    let segment = segment.replace('+', "%2B");
    worker::url::form_urlencoded::parse(segment.as_bytes())
        .next()
        .map(|(text, _)| text.into_owned())
        .unwrap_or_default()
}
