//! The key of a request.

use std::fmt;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri};
use larder_core::{Cache, Layout, check_key};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::variants::SUFFIX_BYTES;
use crate::key_text::{push_hex, whole_uri};

type Maker = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// How keys are made.
#[derive(Clone)]
pub(super) struct Keys {
    prefix: String,
    scheme: Scheme,
    max_bytes: usize,
}

#[derive(Clone)]
enum Scheme {
    /// `GET:<host><path>?<sorted query>`.
    Resource,
    /// The MD5 of path and query as sent.
    UrlHash,
    Own(Maker),
}

/// Longer keys take more room than they are worth, and not every store takes them. With the suffix
/// of a variant it is 512, the shortest limit of all stores.
const LONGEST: usize = 512 - SUFFIX_BYTES;

impl Keys {
    pub(super) fn new(cache: &Cache) -> Self {
        let scheme = match cache.layout() {
            Layout::Plain => Scheme::UrlHash,
            _ => Scheme::Resource,
        };
        let max_bytes = cache.max_key_bytes().saturating_sub(SUFFIX_BYTES).min(LONGEST);
        Self { prefix: "http-cache".into(), scheme, max_bytes }
    }

    pub(super) fn set_prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    pub(super) fn set_maker(&mut self, maker: Maker) {
        self.scheme = Scheme::Own(maker);
    }

    /// The key, within the rules for keys; `None` where the request has none.
    pub(super) fn of(&self, request: &Parts) -> Option<String> {
        let mut key = self.begin(192);
        match &self.scheme {
            Scheme::Resource => push_resource(&mut key, request)?,
            Scheme::UrlHash => {
                let url = whole_uri(request).path_and_query().map_or("/", |url| url.as_str());
                push_hex(&mut key, &Md5::digest(url));
            }
            Scheme::Own(maker) => key.push_str(&maker(request)?),
        }
        Some(self.within_rules(key))
    }

    fn begin(&self, room: usize) -> String {
        let mut key = String::with_capacity(self.prefix.len() + room);
        key.push_str(&self.prefix);
        key.push(':');
        key
    }

    /// Clients write most of the key: where it breaks a rule, its hash stands for it. One against
    /// collisions, as they could be made to swap the responses of two URLs.
    fn within_rules(&self, key: String) -> String {
        if check_key(&key, self.max_bytes, "the response cache").is_ok() {
            return key;
        }
        let mut hashed = self.begin(71);
        hashed.push_str("sha256:");
        push_hex(&mut hashed, &Sha256::digest(&key));
        hashed
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match &self.scheme {
            Scheme::Resource => "resource",
            Scheme::UrlHash => "hash of the URL",
            Scheme::Own(_) => "the user's",
        };
        f.debug_struct("Keys").field("prefix", &self.prefix).field("scheme", &scheme).finish()
    }
}

fn push_resource(key: &mut String, request: &Parts) -> Option<()> {
    let uri = whole_uri(request);
    // HEAD is answered from the response to GET.
    key.push_str("GET:");
    let host = host_of(uri, &request.headers)?;
    let at = key.len();
    key.push_str(host);
    key[at..].make_ascii_lowercase();
    key.push_str(uri.path());
    if let Some(query) = uri.query() {
        key.push('?');
        push_sorted(key, query);
    }
    Some(())
}

/// The host that a request is made to; `None` where it cannot be told.
pub(super) fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(host_of_authority(authority)),
        None => host_field(headers),
    }
}

pub(super) fn host_of_authority(authority: &Authority) -> &str {
    let authority = authority.as_str();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The one host that is asked for. What could not be told from the beginning of a path is none:
/// with `Host: a/b` a client could place its response under the URL of another host.
fn host_field(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(HOST).iter();
    let Some(host) = lines.next() else { return Some("") };
    let is_of_a_host = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'[' | b']')
            || matches!(byte, b'!' | b'$' | b'&'..=b',' | b';' | b'=')
    };
    if lines.next().is_some() || !host.as_bytes().iter().all(|byte| is_of_a_host(*byte)) {
        return None;
    }
    host.to_str().ok()
}

/// The parameters in the order of their names. Those of one name stay in their order, as it may
/// mean something.
fn push_sorted(key: &mut String, query: &str) {
    fn name(pair: &[u8]) -> &[u8] {
        pair.split(|byte| *byte == b'=').next().unwrap_or_default()
    }
    if query.as_bytes().split(|byte| *byte == b'&').is_sorted_by_key(name) {
        return key.push_str(query);
    }
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_by_key(|pair| name(pair.as_bytes()));
    let mut between = "";
    for pair in pairs {
        key.push_str(between);
        key.push_str(pair);
        between = "&";
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "axum")]
    use axum::extract::OriginalUri;
    use http::Request;
    use larder_core::{MemoryStore, VirtualRuntime};
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn cache() -> larder_core::CacheBuilder {
        Cache::builder(MemoryStore::builder().on(VirtualRuntime::seeded(0)))
    }

    fn head(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn key(uri: &str, hosts: &[&str]) -> Option<String> {
        Keys::new(&cache().build().unwrap()).of(&head(uri, hosts))
    }

    #[test]
    fn a_key_has_host_path_and_sorted_query() {
        assert_eq!(
            key("/a?b=2&a=1", &["Shop.Example:8080"]).unwrap(),
            "http-cache:GET:shop.example:8080/a?a=1&b=2"
        );
        assert_eq!(key("/A/b", &["h"]).unwrap(), "http-cache:GET:h/A/b");
        assert_eq!(key("/", &[]).unwrap(), "http-cache:GET:/");
        assert_eq!(key("/?", &[]).unwrap(), "http-cache:GET:/?");
    }

    #[test]
    fn the_authority_of_the_uri_goes_before_the_host_field() {
        assert_eq!(
            key("http://u:p@Shop.Example/a", &["other"]).unwrap(),
            "http-cache:GET:shop.example/a"
        );
    }

    #[test]
    fn parameters_of_one_name_keep_their_order() {
        assert_eq!(key("/?b=1&a=2&b=0&a", &[]).unwrap(), "http-cache:GET:/?a=2&a&b=1&b=0");
        assert_ne!(key("/?a=1&a=2", &[]), key("/?a=2&a=1", &[]));
        // `a` sorts by its name, not by the text of the pair: `=` is greater than `-`.
        assert_eq!(key("/?a-b=1&a=2", &[]).unwrap(), "http-cache:GET:/?a=2&a-b=1");
    }

    #[test]
    fn a_host_that_is_not_one_has_no_key() {
        for hosts in [&["a", "b"][..], &["a/b"], &["a?b"], &["a b"], &["a#"], &["u@a"], &["ä"]] {
            assert_eq!(key("/", hosts), None, "{hosts:?}");
        }
    }

    #[test]
    fn in_the_plain_layout_the_url_is_hashed_as_it_was_sent() {
        let keys = Keys::new(&cache().layout(Layout::Plain).build().unwrap());
        // `printf %s '/api/v1/products?page=2&limit=20' | md5sum`
        assert_eq!(
            keys.of(&head("/api/v1/products?page=2&limit=20", &["h"])).unwrap(),
            "http-cache:f8c9627fb9cd589c2934123f80718f0f"
        );
        let absolute = keys.of(&head("http://h/api/v1/products?page=2&limit=20", &[]));
        assert_eq!(absolute.unwrap(), "http-cache:f8c9627fb9cd589c2934123f80718f0f");
    }

    #[cfg(feature = "axum")]
    #[test]
    fn a_stripped_prefix_counts_and_a_rewritten_uri_stands_for_itself() {
        let resource = Keys::new(&cache().build().unwrap());
        let plain = Keys::new(&cache().layout(Layout::Plain).build().unwrap());
        for (whole, uri, key) in [
            ("/v1/a?b=1", "/a?b=1", "/v1/a?b=1"),
            ("/v1", "/", "/v1"),
            ("/v1/a", "/other", "/other"),
            ("/v1/a?b=1", "/a?b=2", "/a?b=2"),
        ] {
            let mut request = head(uri, &[]);
            request.extensions.insert(OriginalUri(whole.parse().unwrap()));
            assert_eq!(resource.of(&request).unwrap(), format!("http-cache:GET:{key}"));
            assert_eq!(plain.of(&request), plain.of(&head(key, &[])), "{whole}");
        }
    }

    #[test]
    fn prefix_and_key_may_be_ones_own() {
        let mut keys = Keys::new(&cache().build().unwrap());
        keys.set_prefix("pages".into());
        keys.set_maker(Arc::new(|request| Some(request.uri.path().strip_prefix("/p/")?.into())));
        assert_eq!(keys.of(&head("/p/1?x=y", &[])).unwrap(), "pages:1");
        assert_eq!(keys.of(&head("/q/1", &[])), None);
    }

    #[test]
    fn a_key_that_is_too_long_is_hashed() {
        let long = format!("/{}", "a".repeat(600));
        let hashed = key(&long, &[]).unwrap();
        assert_eq!(hashed.len(), "http-cache:sha256:".len() + 64);
        assert_ne!(key(&format!("{long}b"), &[]).unwrap(), hashed);
        let namespaced = cache().namespace("n".repeat(3_900)).build().unwrap();
        let hashed = Keys::new(&namespaced).of(&head(&long[..130], &[])).unwrap();
        assert!(hashed.starts_with("http-cache:sha256:"));
    }

    proptest! {
        #[test]
        fn every_uri_has_a_key_within_the_rules(path in "[^#?\\x00-\\x20\\\\^`<>]{0,300}", query in "[^#\\x00-\\x20<>]{0,300}") {
            if let Ok(request) = Request::get(format!("/{path}?{query}")).body(()) {
                let cache = cache().namespace("app").build().unwrap();
                let key = Keys::new(&cache).of(&request.into_parts().0).unwrap();
                prop_assert!(check_key(&key, LONGEST, "test").is_ok());
            }
        }

        #[test]
        fn the_order_of_different_parameters_does_not_matter(
            pairs in proptest::collection::btree_map("[a-c]{1,3}", "[a-z]{0,2}", 0..6),
            seed in any::<u64>(),
        ) {
            let mut pairs: Vec<String> = pairs.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
            let sorted = key(&format!("/?{}", pairs.join("&")), &[]);
            fastrand::Rng::with_seed(seed).shuffle(&mut pairs);
            prop_assert_eq!(key(&format!("/?{}", pairs.join("&")), &[]), sorted);
        }
    }
}
