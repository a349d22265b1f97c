//! Slots of a Redis Cluster, of which each node has some; a script's keys have to be of one.

use std::sync::LazyLock;

/// How many slots there are.
const SLOTS: u16 = 16_384;

/// Something without a closing brace that, between braces, leads a key to the slot of `key`.
pub(crate) fn tag_for(key: &str) -> String {
    if let Some(part) = slot_part(key) {
        return part.to_owned();
    }
    if !key.contains('}') {
        return key.to_owned();
    }
    // All of the key decides, and a brace in it would end the part before its time.
    let number = TAGS.get(usize::from(slot(key.as_bytes()))).copied().unwrap_or_default();
    letters(number).into_iter().map(char::from).collect()
}

/// The part of a key that decides on its slot, where that is not all of it: what is between the
/// first brace and the next closing one, unless that is nothing.
fn slot_part(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (part, _) = rest.split_once('}')?;
    (!part.is_empty()).then_some(part)
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
