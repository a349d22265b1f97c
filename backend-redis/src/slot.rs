//! Slots of a Redis Cluster, of which each node has some; a script's keys have to be of one.

use std::sync::LazyLock;

use redis::{Arg, Cmd};

/// How many slots there are.
pub(crate) const SLOTS: u16 = 16_384;

/// Something without a closing brace that, between braces, leads a key to the slot of `key`.
pub(crate) fn tag_for(key: &str) -> String {
    if let Some(part) = slot_part(key.as_bytes()) {
        return String::from_utf8_lossy(part).into_owned();
    }
    if !key.contains('}') {
        return key.to_owned();
    }
    // All of the key decides, and a brace in it would end the part before its time.
    let number = TAGS.get(usize::from(slot(key.as_bytes()))).copied().unwrap_or_default();
    letters(number).into_iter().map(char::from).collect()
}

/// The slot of a key.
pub(crate) fn of_key(key: &[u8]) -> u16 {
    slot(slot_part(key).unwrap_or(key))
}

/// The slot of a command's first key.
///
/// A command without keys is given the slot of its first argument, if it has one: it may go
/// anywhere. Where another command's keys stand elsewhere, the node that is asked says so.
pub(crate) fn of_command(command: &Cmd) -> Option<u16> {
    let mut words = command.args_iter().filter_map(|word| match word {
        Arg::Simple(word) => Some(word),
        _ => None,
    });
    let name = words.next()?;
    let at = |names: &[&str]| names.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
    let key = if at(&["EVAL", "EVALSHA", "FCALL"]) {
        words.nth(2)
    } else if at(&["XREAD", "XREADGROUP"]) {
        words.skip_while(|word| !word.eq_ignore_ascii_case(b"STREAMS")).nth(1)
    } else if at(&["XGROUP", "XINFO", "OBJECT", "MEMORY"]) {
        words.nth(1)
    } else {
        words.next()
    };
    key.map(of_key)
}

/// The part of a key that decides on its slot, where that is not all of it: what is between the
/// first brace and the next closing one, unless that is nothing.
fn slot_part(key: &[u8]) -> Option<&[u8]> {
    let begin = key.iter().position(|byte| *byte == b'{')? + 1;
    let rest = key.get(begin..)?;
    let length = rest.iter().position(|byte| *byte == b'}')?;
    rest.get(..length).filter(|part| !part.is_empty())
}

/// For each slot the number whose letters are in it. CRC-16 never leads two of these to one slot.
static TAGS: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let mut tags = vec![0; usize::from(SLOTS)];
    for number in 0..SLOTS {
        if let Some(tag) = tags.get_mut(usize::from(slot(&letters(number)))) {
            *tag = number;
        }
    }
    tags
});

/// Four bits in each.
fn letters(number: u16) -> [u8; 4] {
    [12, 8, 4, 0].map(|shift| b'`' + (number >> shift & 15) as u8)
}

/// The slot of a key all of which decides: its CRC-16 of the kind XMODEM, by
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
fn slot(key: &[u8]) -> u16 {
    let crc = key.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_tag() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        for (number, tag) in TAGS.iter().enumerate() {
            assert_eq!(usize::from(slot(&letters(*tag))), number);
        }
    }

    #[test]
    fn a_command_goes_where_its_first_key_is() {
        let words = |words: &[&str]| {
            let mut command = Cmd::new();
            command.arg(words);
            of_command(&command)
        };
        for command in [
            &["GET", "{user}:1"][..],
            &["SETEX", "{user}:2", "1", "v"],
            &["evalsha", "hash", "2", "{user}:1", "{user}:2", "argument"],
            &["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "{user}", ">"],
            &["XGROUP", "CREATE", "{user}", "g", "$"],
        ] {
            assert_eq!(words(command), Some(slot(b"user")), "{command:?}");
        }
        assert_eq!(words(&["PING"]), None);
    }

    #[test]
    fn a_tag_leads_to_the_slot_of_its_key() {
        for (key, tag) in [("a", "a"), ("a{b", "a{b"), ("a{b}c}", "b"), ("{{a}}", "{a")] {
            assert_eq!(tag_for(key), tag);
        }
        for key in ["}", "a}b", "{}a", "{}{a}", "}{", "ä}"] {
            let tag = tag_for(key);
            assert!(!tag.contains(['{', '}']), "{key}: {tag}");
            assert_eq!(slot(tag.as_bytes()), slot(key.as_bytes()), "{key}: {tag}");
        }
    }
}
