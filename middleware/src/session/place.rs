//! Where a request comes from, as a list of a user's sessions shows it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderValue, Request};

use crate::rate_limit::{ClientIp, push_address};

/// How much is kept of what a client says about itself.
const LONGEST: usize = 200;

/// As RFC 4291 writes it, with an IPv4 address at its end.
const LONGEST_ADDRESS: usize = 45;

type Find = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Place {
    /// The address and the browser.
    Client(ClientIp),
    Function(Find),
}

impl Default for Place {
    fn default() -> Self {
        Self::Client(ClientIp::peer())
    }
}

impl Place {
    // Else the request is moved there and back.
    #[inline]
    pub(super) fn of<B>(&self, mut request: Request<B>) -> (Option<String>, Request<B>) {
        let place = match self {
            Self::Client(address) => {
                let (headers, extensions) = (request.headers(), request.extensions());
                let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
                of_client(address.find(headers, extensions), agent.unwrap_or_default())
            }
            Self::Function(find) => {
                let (head, body) = request.into_parts();
                let place = find(&head).map(shortened);
                request = Request::from_parts(head, body);
                place
            }
        };
        (place, request)
    }
}

fn shortened(mut place: String) -> String {
    if place.len() > LONGEST {
        place.truncate(place.floor_char_boundary(LONGEST));
    }
    place
}

/// A client may write what it likes for its browser's name: of that only what can be shown.
fn of_client(address: Option<IpAddr>, agent: &[u8]) -> Option<String> {
    if address.is_none() && agent.is_empty() {
        return None;
    }
    let mut place = String::with_capacity(LONGEST_ADDRESS + 1 + agent.len().min(LONGEST));
    if let Some(address) = address {
        push_address(&mut place, address);
    }
    if !place.is_empty() && !agent.is_empty() {
        place.push(' ');
    }
    let shown = agent.iter().filter(|byte| (b' '..=b'~').contains(byte)).take(LONGEST);
    place.extend(shown.map(|byte| char::from(*byte)));
    (!place.is_empty()).then(|| shortened(place))
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(address) => address.fmt(f),
            Self::Function(_) => f.write_str("Function"),
        }
    }
}
