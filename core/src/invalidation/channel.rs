//! A bus' channel, and the form of what goes over it.

use bytes::Bytes;

use super::notice::{Notice, Subject};
use super::{Gap, Heard, wire};
use crate::glob::Glob;

/// The channel of a bus, and the form in which notices go over it.
///
/// | form | a message | what it has no place for |
/// | --- | --- | --- |
/// | [larder](Self::larder) | a notice with its origin, in a versioned form | |
/// | [plain](Self::plain) | a bare pattern, as services of other makes publish and understand it | who sent it and which number it has, tags, and that somebody is alive |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    name: String,
    is_plain: bool,
}

impl Channel {
    /// A channel with notices in Larder's own form.
    ///
    /// ```
    /// use larder_core::invalidation::{Channel, Heard, NodeId, Notice, Origin, Subject};
    ///
    /// let channel = Channel::larder("larder:invalidate");
    /// let origin = Origin { node: NodeId::random(), epoch: 1_767_225_600_000, sequence: 1 };
    /// let notice = Notice::new(origin, Subject::Keys(vec!["app:user:42".into()]));
    /// let [message] = &channel.messages(&notice)[..] else { panic!("one message") };
    /// assert_eq!(channel.heard(message), Heard::Notice(notice));
    /// ```
    pub fn larder(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_plain: false }
    }

    /// A channel on which each message is a pattern.
    ///
    /// ```
    /// use larder_core::invalidation::{Channel, Heard, Notice, Subject};
    ///
    /// let channel = Channel::plain("cache:invalidate");
    /// let heard = channel.heard(b"users:*");
    /// assert_eq!(heard, Heard::Notice(Notice::anonymous(Subject::Patterns(vec!["users:*".into()]))));
    ///
    /// // A key goes as the pattern that matches it alone.
    /// let keys = Subject::Keys(vec!["user:42".into(), "what?".into()]);
    /// assert_eq!(channel.messages(&Notice::anonymous(keys)), [&b"user:42"[..], br"what\?"]);
    /// ```
    pub fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_plain: true }
    }

    /// Its name on the bus.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether each message is a bare pattern.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// What is to be sent for `notice`, in this order: one message in Larder's own form; in the plain
    /// one as many as there are keys and patterns, or none.
    #[must_use]
    pub fn messages(&self, notice: &Notice) -> Vec<Bytes> {
        if !self.is_plain {
            return wire::write(notice).into_iter().collect();
        }
        match &notice.subject {
            Subject::Keys(keys) | Subject::Withdrawn(keys) => {
                keys.iter().map(|key| Bytes::from(Glob::literal(key).to_string())).collect()
            }
            Subject::Patterns(patterns) => {
                patterns.iter().map(|pattern| Bytes::from(pattern.to_string())).collect()
            }
            Subject::Everything => vec![Bytes::from_static(b"*")],
            Subject::Alive | Subject::Tags(_) | Subject::Farewell => Vec::new(),
        }
    }

    /// What a message says. One that cannot be read is a [`Gap`]: something was invalidated, and it is
    /// not known what.
    #[must_use]
    pub fn heard(&self, message: &[u8]) -> Heard {
        let notice = match self.is_plain {
            true => {
                pattern(message).map(|pattern| Notice::anonymous(Subject::Patterns(vec![pattern])))
            }
            false => wire::read(message),
        };
        notice.map_or(Heard::Gap(Gap::Unreadable), Heard::Notice)
    }
}

/// No pattern that makes sense is longer, as keys are not.
const LONGEST_PATTERN: usize = 8 << 10;

fn pattern(message: &[u8]) -> Option<Glob> {
    let message = (message.len() <= LONGEST_PATTERN).then_some(message)?;
    let text = std::str::from_utf8(message).ok()?;
    (!text.is_empty() && !text.contains(char::is_control)).then(|| Glob::new(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    const UNREADABLE: Heard = Heard::Gap(Gap::Unreadable);

    proptest! {
        #[test]
        fn any_message_can_be_heard(message: Vec<u8>) {
            let heard = [Channel::larder("c"), Channel::plain("c")].map(|c| c.heard(&message));
            prop_assert!(heard.iter().filter(|heard| **heard != UNREADABLE).count() <= 1);
        }

        #[test]
        fn a_key_is_the_pattern_of_itself_alone(key in "[a-c*?\\[\\]\\\\^-]{1,6}", other in "[a-c*?\\[\\]\\\\^-]{1,6}") {
            let pattern = Glob::literal(&key);
            prop_assert!(pattern.matches(&key));
            prop_assert_eq!(pattern.matches(&other), key == other);
        }
    }

    #[test]
    fn what_is_of_the_other_form_is_a_gap() {
        assert_eq!(Channel::larder("c").heard(b"users:*"), UNREADABLE);
        assert_eq!(Channel::plain("c").heard(&[0xCB, 1, 0, 0]), UNREADABLE);
        assert_eq!(Channel::plain("c").heard(b""), UNREADABLE);
        assert_eq!(Channel::plain("c").heard(b"users\n"), UNREADABLE);
    }

    #[test]
    fn what_the_plain_form_has_no_place_for_is_not_sent() {
        let channel = Channel::plain("c");
        for subject in [Subject::Alive, Subject::Farewell, Subject::Tags(vec!["t".into()])] {
            assert!(channel.messages(&Notice::anonymous(subject)).is_empty());
        }
    }
}
