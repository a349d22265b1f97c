//! What a Worker and its objects say to each other.
//!
//! A message is a version byte and a message in postcard's wire format. During a deployment both
//! versions of a Worker are at work: messages may be added at the end of the lists, and whatever
//! else changes takes another version, which the other side answers with a clear error.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use super::limits::message::{Ask, Said};
use super::sessions::message::{self as sessions, Ended, Shown, Standing};

const VERSION: u8 = 1;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    /// [`Reply::Values`].
    Get(#[serde(borrow)] Vec<&'a str>),
    /// [`Reply::Done`].
    Put(#[serde(borrow)] Vec<Put<'a>>),
    /// [`Reply::Count`].
    Remove(#[serde(borrow)] Vec<&'a str>),
    /// [`Reply::Lives`].
    Lives(#[serde(borrow)] Vec<&'a str>),
    /// [`Reply::Page`].
    Scan { pattern: &'a str, after: Option<&'a str> },
    /// [`Reply::Lease`].
    Acquire { key: &'a str, life_ms: u64 },
    /// [`Reply::Done`], whether or not the token held the lease.
    Release { key: &'a str, token: u64 },
    /// Of rate limits.
    Limits(#[serde(borrow)] Ask<'a>),
    /// Of sessions.
    Sessions(#[serde(borrow)] sessions::Ask<'a>),
}

impl Request<'_> {
    /// Whether to be asked twice changes no more than to be asked once, where the first answer may
    /// have been lost.
    pub(crate) fn can_be_repeated(&self) -> bool {
        match self {
            Self::Acquire { .. } => false,
            Self::Limits(ask) => ask.can_be_repeated(),
            _ => true,
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Put<'a> {
    pub(crate) key: &'a str,
    pub(crate) life_ms: u64,
    #[serde(borrow)]
    pub(crate) value: &'a Bytes,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply<'a> {
    Done,
    /// The object cannot do it, and why.
    Failed(&'a str),
    /// In the order of the request; where not all fit into a reply, the first of them.
    Values(#[serde(borrow)] Vec<Option<&'a Bytes>>),
    /// How many stood.
    Count(u64),
    /// Milliseconds left, in the order of the request.
    Lives(Vec<Option<u64>>),
    /// Keys that match, and after which key to go on.
    Page {
        #[serde(borrow)]
        keys: Vec<&'a str>,
        next: Option<&'a str>,
    },
    /// The token, unless another holds the lease.
    Lease(Option<u64>),
    /// What each quota says, in the order of the request.
    Verdicts(Vec<Said>),
    /// The key is blocked, for so many microseconds yet.
    Blocked(u64),
    /// What stands for a session.
    Standing(#[serde(borrow)] Option<Standing<'a>>),
    /// The index of this user has to know of the session for longer.
    Unnoted(&'a str),
    /// In the order of the request.
    Ends(#[serde(borrow)] Vec<Ended<'a>>),
    /// Those that live.
    Shown(#[serde(borrow)] Vec<Shown<'a>>),
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the message is empty")]
    Empty,
    #[error(
        "the message is of version {theirs} of the protocol, and this side speaks version \
         {VERSION}; deploy one version of larder-kv for the Worker and its objects"
    )]
    Version { theirs: u8 },
    #[error("the message is damaged: {0}")]
    Damaged(String),
}

pub(crate) fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, Unreadable> {
    postcard::to_extend(message, vec![VERSION]).map_err(damaged)
}

pub(crate) fn decode<'a, M: Deserialize<'a>>(message: &'a [u8]) -> Result<M, Unreadable> {
    match message {
        [] => Err(Unreadable::Empty),
        [VERSION, message @ ..] => postcard::from_bytes(message).map_err(damaged),
        [theirs, ..] => Err(Unreadable::Version { theirs: *theirs }),
    }
}

fn damaged(error: postcard::Error) -> Unreadable {
    Unreadable::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use larder_core::rate_limit::rule::Verdict;
    use larder_core::{Quota, millis};

    use super::super::limits::message::Limit;
    use super::super::sessions::message::tests::{TOKEN, record};
    use super::*;

    fn request(request: &Request<'_>) -> Vec<u8> {
        let bytes = encode(request).unwrap();
        assert_eq!(&decode::<Request<'_>>(&bytes).unwrap(), request);
        bytes
    }

    fn reply(reply: &Reply<'_>) -> Vec<u8> {
        let bytes = encode(reply).unwrap();
        assert_eq!(&decode::<Reply<'_>>(&bytes).unwrap(), reply);
        bytes
    }

    /// Objects and Workers of earlier versions read these bytes.
    #[test]
    fn version_1_is_fixed() {
        let value = Bytes::new(b"\xFFv");
        assert_eq!(request(&Request::Get(vec!["a", "é"])), b"\x01\0\x02\x01a\x02\xC3\xA9");
        let put = Put { key: "a", life_ms: 300, value };
        assert_eq!(request(&Request::Put(vec![put])), b"\x01\x01\x01\x01a\xAC\x02\x02\xFFv");
        assert_eq!(request(&Request::Remove(vec!["a"])), b"\x01\x02\x01\x01a");
        assert_eq!(request(&Request::Lives(vec![])), b"\x01\x03\0");
        let scan = Request::Scan { pattern: "a*", after: Some("ab") };
        assert_eq!(request(&scan), b"\x01\x04\x02a*\x01\x02ab");
        assert_eq!(request(&Request::Acquire { key: "a", life_ms: 1 }), b"\x01\x05\x01a\x01");
        assert_eq!(request(&Request::Release { key: "a", token: 7 }), b"\x01\x06\x01a\x07");

        let quota = Quota::new(5, millis(1)).named("q");
        let quotas = || vec![Limit::of(&quota).unwrap()];
        let limits = |ask| request(&Request::Limits(ask));
        let check = Ask::Check { key: "a", quotas: quotas(), cost: 2, lease: 300, takes: true };
        assert_eq!(limits(check), b"\x01\x07\0\x01a\x01\x01q\0\x05\x05\xE8\x07\x02\xAC\x02\x01");
        let refund = Ask::Refund { key: "a", quotas: quotas(), cost: 2 };
        assert_eq!(limits(refund), b"\x01\x07\x01\x01a\x01\x01q\0\x05\x05\xE8\x07\x02");
        let release = Ask::Release { key: "a", quotas: vec![], lease: 300 };
        assert_eq!(limits(release), b"\x01\x07\x02\x01a\0\xAC\x02");
        let reset = Ask::Reset { key: "a", quotas: vec![] };
        assert_eq!(limits(reset), b"\x01\x07\x03\x01a\0");
        assert_eq!(limits(Ask::Block { key: "a", micros: 7 }), b"\x01\x07\x04\x01a\x07");

        let asked = |ask| request(&Request::Sessions(ask));
        let written = |bytes: &[u8]| {
            let record = b"\x01\x02\xC3\xA9\xAC\x02\x90\x03\0\xC0\x84\x3D\x02{}";
            [bytes, record].concat()
        };
        let (key, version, noted, record) = ("a", TOKEN, 300, record(b"{}"));
        assert_eq!(asked(sessions::Ask::Load(key)), b"\x01\x08\0\x01a");
        let create = sessions::Ask::Create { key, version, noted, record };
        assert_eq!(asked(create), written(b"\x01\x08\x01\x01a0123456789abcdef\xAC\x02"));
        let update = sessions::Ask::Update { key, expected: [b'x'; 16], version, noted, record };
        let bytes = b"\x01\x08\x02\x01axxxxxxxxxxxxxxxx0123456789abcdef\xAC\x02";
        assert_eq!(asked(update), written(bytes));
        let (seen_from, user) = (Some("b"), Some("c"));
        let touch = sessions::Ask::Touch { key, seen: 1, seen_from, ends: 2, user, noted };
        assert_eq!(asked(touch), b"\x01\x08\x03\x01a\x01\x01\x01b\x02\x01\x01c\xAC\x02");
        let leave = sessions::Ask::Leave { key, expected: [b'x'; 16], version, to: "b" };
        assert_eq!(asked(leave), b"\x01\x08\x04\x01axxxxxxxxxxxxxxxx0123456789abcdef\x01b");
        let take_back = sessions::Ask::TakeBack { key, version };
        assert_eq!(asked(take_back), b"\x01\x08\x05\x01a0123456789abcdef");
        let end = sessions::Ask::End { keys: vec![key], user: Some("b"), version };
        assert_eq!(asked(end), b"\x01\x08\x06\x01\x01a\x01\x01b0123456789abcdef");
        let show = sessions::Ask::Show { keys: vec![key], user: "b" };
        assert_eq!(asked(show), b"\x01\x08\x07\x01\x01a\x01b");
        let note = sessions::Ask::Note { user: "b", key, until: 300 };
        assert_eq!(asked(note), b"\x01\x08\x08\x01b\x01a\xAC\x02");
        let noted_keys = sessions::Ask::Noted { user: "b", after: Some(key) };
        assert_eq!(asked(noted_keys), b"\x01\x08\x09\x01b\x01\x01a");
        let forget = sessions::Ask::Forget { user: "b", keys: vec![key] };
        assert_eq!(asked(forget), b"\x01\x08\x0A\x01b\x01\x01a");

        assert_eq!(reply(&Reply::Done), b"\x01\0");
        assert_eq!(reply(&Reply::Failed("no")), b"\x01\x01\x02no");
        assert_eq!(reply(&Reply::Values(vec![Some(value), None])), b"\x01\x02\x02\x01\x02\xFFv\0");
        assert_eq!(reply(&Reply::Count(2)), b"\x01\x03\x02");
        assert_eq!(reply(&Reply::Lives(vec![Some(1), None])), b"\x01\x04\x02\x01\x01\0");
        let page = Reply::Page { keys: vec!["a"], next: Some("b") };
        assert_eq!(reply(&page), b"\x01\x05\x01\x01a\x01\x01b");
        assert_eq!(reply(&Reply::Lease(Some(1))), b"\x01\x06\x01\x01");
        let verdicts =
            [Verdict::allowed(5, 4, millis(1)), Verdict::refused(5, 0, millis(1), Some(millis(1)))];
        let said = verdicts.iter().map(Said::of).collect();
        let bytes = b"\x01\x07\x02\x01\x04\xE8\x07\0\0\0\xE8\x07\x01\xE8\x07";
        assert_eq!(reply(&Reply::Verdicts(said)), bytes);
        assert_eq!(reply(&Reply::Blocked(7)), b"\x01\x08\x07");
        assert_eq!(reply(&Reply::Standing(None)), b"\x01\x09\0");
        let session = Standing::Session { version, noted, record };
        let bytes = b"\x01\x09\x01\x000123456789abcdef\xAC\x02";
        assert_eq!(reply(&Reply::Standing(Some(session))), written(bytes));
        let moved = Standing::Tombstone { version, until: 7, moved_to: Some("b") };
        let bytes = b"\x01\x09\x01\x010123456789abcdef\x07\x01\x01b";
        assert_eq!(reply(&Reply::Standing(Some(moved))), bytes);
        assert_eq!(reply(&Reply::Unnoted("b")), b"\x01\x0A\x01b");
        let ends = vec![Ended::Now(Some("b")), Ended::MovedTo("c"), Ended::Gone, Ended::Anothers];
        assert_eq!(reply(&Reply::Ends(ends)), b"\x01\x0B\x04\0\x01\x01b\x01\x01c\x02\x03");
        let shown = Shown { key, created: 1, seen: 2, seen_from: None, ends: 3 };
        assert_eq!(reply(&Reply::Shown(vec![shown])), b"\x01\x0C\x01\x01a\x01\x02\0\x03");
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(decode::<Reply<'_>>(b"\x02\0"), Err(Unreadable::Version { theirs: 2 }));
        assert_eq!(decode::<Reply<'_>>(b""), Err(Unreadable::Empty));
        let error = decode::<Reply<'_>>(b"\x02\0").unwrap_err().to_string();
        assert!(error.contains("version 2") && error.contains("version 1"), "{error}");
    }

    #[test]
    fn a_damaged_message_is_an_error() {
        let whole = request(&Request::Get(vec!["abc", "def"]));
        for length in 1..whole.len() {
            assert!(matches!(decode::<Request<'_>>(&whole[..length]), Err(Unreadable::Damaged(_))));
        }
        assert!(matches!(decode::<Request<'_>>(b"\x01\x63"), Err(Unreadable::Damaged(_))));
    }
}
