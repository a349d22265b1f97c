//! Which object holds a key.

use siphasher::sip::SipHasher13;

/// Keys over a fixed number of objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    family: &'static str,
    objects: u16,
}

impl Placement {
    pub(crate) fn new(family: &'static str, objects: u16) -> Self {
        Self { family, objects: objects.max(1) }
    }

    pub(crate) fn objects(self) -> u16 {
        self.objects
    }

    /// The number of the object that holds `key`. The same for ever: entries would be lost
    /// otherwise.
    pub(crate) fn of(self, key: &str) -> u16 {
        let hash = SipHasher13::new().hash(key.as_bytes());
        u16::try_from(hash % u64::from(self.objects)).unwrap_or(0)
    }

    /// The name under which the object is addressed.
    pub(crate) fn name(self, object: u16) -> String {
        format!("{}-{object}-of-{}", self.family, self.objects)
    }

    /// The objects that hold `keys`, each with the places of its keys.
    pub(crate) fn group<'k>(
        self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Vec<(u16, Vec<usize>)> {
        let mut groups: Vec<(u16, Vec<usize>)> = Vec::new();
        for (place, key) in keys.into_iter().enumerate() {
            let object = self.of(key);
            match groups.iter_mut().find(|(of, _)| *of == object) {
                Some((_, places)) => places.push(place),
                None => groups.push((object, vec![place])),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_where_it_is() {
        // Computed once, and fixed by what has been stored since.
        let placement = Placement::new("larder", 16);
        let places = ["", "a", "app:user:42", "日本"].map(|key| placement.of(key));
        assert_eq!(places, [12, 3, 8, 11]);
        assert_eq!(placement.name(3), "larder-3-of-16");
    }

    #[test]
    fn keys_are_spread_evenly() {
        let placement = Placement::new("larder", 16);
        let mut held = [0_u32; 16];
        for n in 0..16_000 {
            held[usize::from(placement.of(&format!("app:user:{n}")))] += 1;
        }
        assert!(held.iter().all(|n| (850..1_150).contains(n)), "{held:?}");
    }

    #[test]
    fn groups_hold_every_place_once() {
        let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
        let groups = Placement::new("larder", 4).group(keys.iter().map(String::as_str));
        let mut places: Vec<usize> = groups.iter().flat_map(|(_, places)| places.clone()).collect();
        places.sort_unstable();
        assert_eq!(places, (0..100).collect::<Vec<_>>());
        for (object, places) in groups {
            assert!(
                places.iter().all(|place| Placement::new("larder", 4).of(&keys[*place]) == object)
            );
        }
    }
}
