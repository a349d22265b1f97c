//! A session as connect-redis writes it: a JSON object with the cookie and the session's values.

use std::borrow::Cow;

use larder_core::session::{Data, SessionRecord, Value};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::members::Members;

const COOKIE: &str = "cookie";

/// What every session of express-session has for a value of that name: it would not take another
/// from the store.
const TAKEN: &[&str] = &[
    COOKIE,
    "id",
    "req",
    "touch",
    "resetMaxAge",
    "save",
    "reload",
    "destroy",
    "regenerate",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

/// Where the user stands who is signed in.
#[derive(Debug, Clone)]
pub(super) struct UserMember {
    /// The names of the members that lead to it.
    path: Vec<String>,
    is_number: bool,
}

/// What a text says.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) data: Data,
    pub(super) user: Option<String>,
    pub(super) kept: Kept,
}

/// What a text has that is no value of a session of Larder's, and stays in it as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) cookie: Members,
    /// The user, as the value that the other service wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Value>,
}

impl Kept {
    pub(super) fn beginning_with(cookie: Members) -> Self {
        Self { cookie, user: None }
    }
}

impl Default for UserMember {
    fn default() -> Self {
        Self { path: vec!["user".into()], is_number: false }
    }
}

impl UserMember {
    pub(super) fn at(self, path: Vec<String>) -> Self {
        Self { path, ..self }
    }

    pub(super) fn number(self) -> Self {
        Self { is_number: true, ..self }
    }

    /// What a text says, or why it says nothing.
    pub(super) fn read(&self, text: &[u8]) -> Result<Content, &'static str> {
        // What serde says may quote a value, which may be a secret.
        let mut data: Data = serde_json::from_slice(text).map_err(|_| "it is no JSON object")?;
        let cookie = data.remove(COOKIE).ok_or("it has no `cookie`")?;
        let cookie = Members::of(&cookie).ok_or("its `cookie` is no object")?;
        let user = self.user_in(&data);
        let mut kept = Kept::beginning_with(cookie);
        if user.is_some()
            && let [name] = self.path.as_slice()
        {
            kept.user = data.remove(name);
        }
        Ok(Content { data, user, kept })
    }

    /// The text of a session.
    /// What is kept for the next one is the user as they stand in it.
    pub(super) fn write(
        &self,
        session: &SessionRecord,
        kept: &mut Kept,
    ) -> Result<Vec<u8>, String> {
        let mut data = Cow::Borrowed(&session.data);
        if let [name] = self.path.as_slice()
            && self.user_in(&data).is_some()
        {
            return Err(format!(
                "the value {name:?} says who is signed in, which is for Session::sign_in alone"
            ));
        }
        let before = kept.user.take();
        // Values sign nobody in, and nobody out.
        if self.user_in(&data) != session.user {
            let user = match &session.user {
                Some(user) => Some(self.value(user, before)?),
                None => None,
            };
            if self.path.len() == 1 {
                kept.user.clone_from(&user);
            }
            self.put(data.to_mut(), user)?;
        }
        if let Some(name) = data.keys().find(|name| TAKEN.contains(&name.as_str())) {
            return Err(format!(
                "a value has the name {name:?}, by which express-session has something else; give \
                 it another"
            ));
        }
        serde_json::to_vec(&Text { cookie: &kept.cookie, data: &data })
            .map_err(|error| format!("it cannot be written as JSON: {error}"))
    }

    fn user_in(&self, data: &Data) -> Option<String> {
        let (first, rest) = self.path.split_first()?;
        let mut value = Cow::Borrowed(data.get(first)?);
        for name in rest {
            let members = Members::of(&value)?;
            value = Cow::Owned(members.get(name)?.clone());
        }
        user_of(&value)
    }

    fn put(&self, data: &mut Data, user: Option<Value>) -> Result<(), String> {
        let Some((first, rest)) = self.path.split_first() else {
            return Err("nothing says where the user stands; see ExpressSessions::user_at".into());
        };
        match put_into(data.get(first), rest, user) {
            Some(value) => drop(data.insert(first.clone(), value)),
            None => drop(data.remove(first)),
        }
        Ok(())
    }

    /// What names the user: what did before, if it is the same.
    fn value(&self, user: &str, before: Option<Value>) -> Result<Value, String> {
        if let Some(before) = before.filter(|value| user_of(value).as_deref() == Some(user)) {
            return Ok(before);
        }
        let number = user.parse::<u64>().ok().filter(|number| number.to_string() == user);
        let value = match (self.is_number, number) {
            (true, Some(number)) => Value::of(&number),
            (true, None) => {
                return Err("the user is no number; see ExpressSessions::numeric_users".into());
            }
            (false, _) => Value::of(user),
        };
        value.map_err(|error| format!("the user cannot be written as JSON: {error}"))
    }
}

/// The user whom a value names: a text, or a whole number. What is false in JavaScript is nobody,
/// as for the code there.
fn user_of(value: &Value) -> Option<String> {
    let json = value.as_json();
    let user = serde_json::from_str::<String>(json);
    let number = || serde_json::from_str::<u64>(json).ok().filter(|number| *number != 0);
    user.ok().or_else(|| number().map(|it| it.to_string())).filter(|user| !user.is_empty())
}

/// A value, with the user, or without, at the end of the path.
fn put_into(value: Option<&Value>, path: &[String], user: Option<Value>) -> Option<Value> {
    let Some((first, rest)) = path.split_first() else { return user };
    let mut members = value.and_then(Members::of).unwrap_or_default();
    match put_into(members.get(first), rest, user) {
        Some(inner) => members.set(first, inner),
        None => members.remove(first),
    }
    Value::of(&members).ok()
}

struct Text<'a> {
    cookie: &'a Members,
    data: &'a Data,
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.data.len()))?;
        map.serialize_entry(COOKIE, self.cookie)?;
        for (name, value) in self.data {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use larder_core::Timestamp;
    use proptest::prelude::*;

    use super::super::ExpressCookie;
    use super::*;

    /// What express-session 1.19 and connect-redis 9 wrote.
    const PLAIN: &str = include_str!("../../../golden/express-plain.json");
    const AGED: &str = include_str!("../../../golden/express-aged.json");

    fn record(content: &Content) -> SessionRecord {
        let mut session = SessionRecord::new(Timestamp::EPOCH, Timestamp::MAX);
        (session.data, session.user) = (content.data.clone(), content.user.clone());
        session
    }

    fn text_of(at: &UserMember, session: &SessionRecord, kept: &Kept) -> String {
        String::from_utf8(at.write(session, &mut kept.clone()).unwrap()).unwrap()
    }

    fn session(user: Option<&str>, values: &[(&str, &str)]) -> SessionRecord {
        let mut session = SessionRecord::new(Timestamp::EPOCH, Timestamp::MAX);
        session.user = user.map(str::to_owned);
        for (name, json) in values {
            session.data.insert((*name).into(), serde_json::from_str(json).unwrap());
        }
        session
    }

    fn at(path: &[&str]) -> UserMember {
        UserMember::default().at(path.iter().map(|name| (*name).into()).collect())
    }

    #[test]
    fn what_express_wrote_is_written_as_it_was() {
        for (golden, path) in [(PLAIN, "user"), (AGED, "user"), (PLAIN, "views"), (AGED, "name")] {
            let at = at(&[path]);
            let content = at.read(golden.as_bytes()).unwrap();
            assert_eq!(text_of(&at, &record(&content), &content.kept), golden, "{path}");
        }
        let content = at(&["views"]).read(PLAIN.as_bytes()).unwrap();
        assert_eq!(content.user.as_deref(), Some("1"));
        assert_eq!(content.data.keys().collect::<Vec<_>>(), ["user"]);
        assert_eq!(content.data["user"].as_json(), r#"{"id":42,"name":"Zoë"}"#);
    }

    /// The file is a promise: a service that reads it is signed in by it.
    #[test]
    fn what_begins_here_is_written_as_express_would() {
        let (seen, ends) = (1_795_406_063_344, 1_795_409_663_344);
        let mut session = session(Some("zoë"), &[("cart", "[42,7]"), ("naïve", r#""ß""#)]);
        session.seen_at = Timestamp::from_millis(seen);
        session.expires_at = Timestamp::from_millis(ends);
        let cookie = ExpressCookie::new()
            .partitioned(true)
            .priority("high")
            .secure(false)
            .domain("localhost")
            .same_site("lax");
        let written = |cookie: &ExpressCookie| {
            let kept = Kept::beginning_with(cookie.begin(&session));
            text_of(&UserMember::default(), &session, &kept)
        };
        assert_eq!(written(&cookie), include_str!("../../../golden/express-begun-here.json"));
        let plain =
            r#"{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"#;
        assert!(written(&ExpressCookie::new().until_browser_closes()).starts_with(plain));
    }

    #[test]
    fn a_user_is_whoever_stands_where_it_was_said() {
        let user = |path: &[&str], values: &str| {
            let text = format!(r#"{{"cookie":{{}},{values}}}"#);
            at(path).read(text.as_bytes()).unwrap().user
        };
        assert_eq!(user(&["user"], r#""user":"zoë""#).as_deref(), Some("zoë"));
        assert_eq!(user(&["userId"], r#""userId":42"#).as_deref(), Some("42"));
        let passport = ["passport", "user"];
        assert_eq!(user(&passport, r#""passport":{"user":"z"}"#).as_deref(), Some("z"));
        for nobody in ["null", "\"\"", "0", "false", "true", "{}", "[\"zoë\"]", "-1", "1.5"] {
            assert_eq!(user(&["user"], &format!(r#""user":{nobody}"#)), None, "{nobody}");
            assert_eq!(user(&passport, &format!(r#""passport":{nobody}"#)), None, "{nobody}");
        }
    }

    #[test]
    fn signing_in_changes_the_user_and_nothing_beside() {
        let kept = Kept::default();
        for (at, session, text) in [
            (at(&["user"]), session(Some("zoë"), &[]), r#"{"cookie":{},"user":"zoë"}"#),
            (at(&["user"]), session(None, &[("user", "null")]), r#"{"cookie":{},"user":null}"#),
            (at(&["user"]), session(Some("42"), &[]), r#"{"cookie":{},"user":"42"}"#),
            (at(&["user"]).number(), session(Some("42"), &[]), r#"{"cookie":{},"user":42}"#),
            (
                at(&["passport", "user"]),
                session(Some("z"), &[("passport", r#"{"b":1.50,"user":"a","a":{}}"#)]),
                r#"{"cookie":{},"passport":{"b":1.50,"user":"z","a":{}}}"#,
            ),
            (
                at(&["passport", "user"]),
                session(None, &[("passport", r#"{"user":"a","a":{}}"#)]),
                r#"{"cookie":{},"passport":{"a":{}}}"#,
            ),
            (at(&["a", "b"]), session(Some("z"), &[("a", "7")]), r#"{"cookie":{},"a":{"b":"z"}}"#),
        ] {
            assert_eq!(text_of(&at, &session, &kept), text);
        }
        let number = UserMember::default().number();
        assert!(number.write(&session(Some("zoë"), &[]), &mut kept.clone()).is_err());
        // As who signed in there stays what they are.
        let there = at(&["user"]).read(br#"{"cookie":{},"user":42,"n":1}"#).unwrap();
        let text = text_of(&at(&["user"]), &record(&there), &there.kept);
        assert_eq!(text, r#"{"cookie":{},"n":1,"user":42}"#);
    }

    #[test]
    fn values_sign_nobody_in() {
        let insert = |at: UserMember, name: &str, json: &str| {
            at.write(&session(None, &[(name, json)]), &mut Kept::default())
                .map(|text| String::from_utf8(text).unwrap())
        };
        assert!(insert(at(&["user"]), "user", r#""zoë""#).unwrap_err().contains("sign_in"));
        let passport = insert(at(&["passport", "user"]), "passport", r#"{"user":"zoë"}"#);
        assert_eq!(passport.unwrap(), r#"{"cookie":{},"passport":{}}"#);
        for name in ["cookie", "id", "save", "__proto__", "toString"] {
            let error = insert(at(&["user"]), name, "1").unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_is_no_session_says_why() {
        for (text, why) in [
            ("", "JSON"),
            ("null", "JSON"),
            ("[]", "JSON"),
            ("{", "JSON"),
            (r#"{"cookie":{}"#, "JSON"),
            ("{}", "has no `cookie`"),
            (r#"{"user":"zoë"}"#, "has no `cookie`"),
            (r#"{"cookie":null}"#, "is no object"),
            (r#"{"cookie":[]}"#, "is no object"),
        ] {
            let error = UserMember::default().read(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(UserMember::default().read(b"\xCE\x01\x01\x00").is_err());
        assert!(UserMember::default().read(br#"{"cookie":{}}"#).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_written_is_read(
            values in prop::collection::btree_map(any::<String>(), any::<String>(), 0..5),
            user: Option<String>,
            nested: bool,
        ) {
            let path: &[&str] = if nested { &["a", "b"] } else { &["user"] };
            let at = at(path);
            let mut session = session(user.as_deref().filter(|user| !user.is_empty()), &[]);
            for (name, value) in values {
                if !TAKEN.contains(&name.as_str()) && name != "user" && name != "a" {
                    session.data.insert(name, Value::of(&value).unwrap());
                }
            }
            let mut kept = Kept::beginning_with(ExpressCookie::new().begin(&session));
            let text = at.write(&session, &mut kept).unwrap();
            let read = at.read(&text).unwrap();
            prop_assert_eq!(&read.user, &session.user);
            let json = |kept: &Kept| serde_json::to_string(kept).unwrap();
            prop_assert_eq!(json(&read.kept), json(&kept));
            let mut data = read.data;
            if nested {
                prop_assert_eq!(data.remove("a").is_some(), session.user.is_some());
            }
            prop_assert_eq!(data, session.data);
        }
    }
}
