//! The bytes of every version of a notice there was: read still, and of the newest version written
//! exactly so.
//!
//! `core/golden/notice-<version>-<what>.bin` are promises. A change of the form adds files of a new
//! version; those that stand are never touched.

use larder_core::invalidation::{Channel, Heard, NodeId, Notice, Origin, Subject};

use crate::harness::test;

const CHANNEL: &str = "larder:invalidate";

fn is_read_and_written(golden: &[u8], subject: Subject) {
    let node = NodeId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let notice = Notice::new(Origin { node, epoch: 1_767_225_600_000, sequence: 7 }, subject);
    let channel = Channel::larder(CHANNEL);
    assert_eq!(channel.heard(golden), Heard::Notice(notice.clone()));
    assert_eq!(channel.messages(&notice), [golden]);
}

macro_rules! golden {
    ($name:ident: $file:literal, $subject:expr) => {
        #[test]
        fn $name() {
            is_read_and_written(include_bytes!(concat!("../../golden/", $file)), $subject);
        }
    };
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

golden!(version_1_of_nothing: "notice-v1-alive.bin", Subject::Alive);
golden!(version_1_of_keys: "notice-v1-keys.bin",
    Subject::Keys(texts(&["app:user:42", "app:user:Zoë"])));
golden!(version_1_of_patterns: "notice-v1-patterns.bin",
    Subject::Patterns(vec!["app:users:*".into()]));
golden!(version_1_of_tags: "notice-v1-tags.bin", Subject::Tags(texts(&["app:larder-tag:users"])));
golden!(version_1_of_everything: "notice-v1-everything.bin", Subject::Everything);
golden!(version_1_of_withdrawn: "notice-v1-withdrawn.bin",
    Subject::Withdrawn(texts(&["app:user:42"])));
golden!(version_1_of_a_farewell: "notice-v1-farewell.bin", Subject::Farewell);
