//! What a new database is filled with: the same on every machine, forever.
//!
//! ```
//! use larder_demo::seed;
//!
//! let first = seed::products().next().unwrap();
//! assert_eq!(first.name, "Organic Basmati Rice 100 g");
//! assert_eq!(seed::users().count(), seed::USERS);
//! ```

mod statements;

pub use statements::statements;

/// How many products there are.
pub const PRODUCTS: usize = 10_000;

/// How many users there are.
pub const USERS: usize = 10_000;

/// The shop's settings.
pub const SETTINGS: [(&str, &str); 4] = [
    ("currency", "EUR"),
    ("freeShippingFromCents", "4900"),
    ("maintenance", "off"),
    ("shopName", "The Larder"),
];

/// A product to insert, with its reviews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedProduct {
    /// From 1 on.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// The shelf that it stands on.
    pub category: &'static str,
    /// In cents.
    pub price_cents: i64,
    /// How many are in stock.
    pub stock: i64,
    /// The stars of each review, 1 to 5.
    pub reviews: Vec<i64>,
}

/// A user to insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedUser {
    /// From 1 on.
    pub id: i64,
    /// Unique.
    pub email: String,
    /// The full name.
    pub name: String,
    /// When the account was opened, in seconds since the UNIX epoch.
    pub created_at: i64,
}

/// The products, by id.
pub fn products() -> impl Iterator<Item = SeedProduct> {
    let names = QUALITIES.iter().flat_map(|quality| {
        FOODS.iter().flat_map(move |(food, category)| {
            SIZES.iter().map(move |size| (format!("{quality} {food} {size}"), *category))
        })
    });
    (1..).zip(names).take(PRODUCTS).map(|(id, (name, category))| {
        let mut chance = Chance::of(1, id);
        let price_cents = 99 + chance.below(3_900);
        let stock = chance.below(500);
        let quality = chance.below(3);
        let reviews =
            (0..chance.below(10)).map(|_| 1 + (quality + chance.below(3)).min(4)).collect();
        SeedProduct { id, name, category, price_cents, stock, reviews }
    })
}

/// The users, by id.
pub fn users() -> impl Iterator<Item = SeedUser> {
    (1..).take(USERS).map(|id| {
        let mut chance = Chance::of(2, id);
        let (first, last) = (chance.pick(&FIRST_NAMES), chance.pick(&LAST_NAMES));
        SeedUser {
            id,
            email: format!("{}.{}.{id}@example.com", first.1, last.1),
            name: format!("{} {}", first.0, last.0),
            created_at: FIRST_ACCOUNT + id * 6_000 + chance.below(6_000),
        }
    })
}

/// 2024-01-01T00:00:00Z
const FIRST_ACCOUNT: i64 = 1_704_067_200;

/// SplitMix64 (Steele, Lea, Flood: «Fast splittable pseudorandom number generators», 2014): short,
/// and unlike a crate's generator it never changes.
struct Chance(u64);

impl Chance {
    fn of(table: u64, id: i64) -> Self {
        Self((table << 32) ^ id.unsigned_abs())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to `bound`.
    fn below(&mut self, bound: u32) -> i64 {
        let bound = u64::from(bound.max(1));
        i64::try_from(self.next() % bound).unwrap_or(0)
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: &[T; N]) -> T {
        let index = usize::try_from(self.next() % N as u64).unwrap_or(0);
        from[index]
    }
}

const QUALITIES: [&str; 20] = [
    "Organic",
    "Wild",
    "Smoked",
    "Roasted",
    "Spicy",
    "Mild",
    "Sea-Salted",
    "Stone-Ground",
    "Sun-Dried",
    "Slow-Cured",
    "Hand-Picked",
    "Farmhouse",
    "Alpine",
    "Coastal",
    "Heritage",
    "Vintage",
    "Golden",
    "Raw",
    "Unsweetened",
    "Family",
];

const FOODS: [(&str, &str); 50] = [
    ("Basmati Rice", "grains"),
    ("Red Lentils", "grains"),
    ("Spelt Flour", "grains"),
    ("Rolled Oats", "grains"),
    ("Pearl Barley", "grains"),
    ("Quinoa", "grains"),
    ("Bulgur", "grains"),
    ("Polenta", "grains"),
    ("Spaghetti", "pasta"),
    ("Rigatoni", "pasta"),
    ("Orecchiette", "pasta"),
    ("Soba Noodles", "pasta"),
    ("Gnocchi", "pasta"),
    ("Paprika", "spices"),
    ("Black Pepper", "spices"),
    ("Cumin", "spices"),
    ("Cardamom", "spices"),
    ("Turmeric", "spices"),
    ("Cinnamon", "spices"),
    ("Saffron", "spices"),
    ("Chilli Flakes", "spices"),
    ("Olive Oil", "oils"),
    ("Rapeseed Oil", "oils"),
    ("Sesame Oil", "oils"),
    ("Cider Vinegar", "oils"),
    ("Balsamic Vinegar", "oils"),
    ("Honey", "spreads"),
    ("Apricot Jam", "spreads"),
    ("Hazelnut Spread", "spreads"),
    ("Peanut Butter", "spreads"),
    ("Marmalade", "spreads"),
    ("Tahini", "spreads"),
    ("Green Tea", "tea and coffee"),
    ("Black Tea", "tea and coffee"),
    ("Rooibos", "tea and coffee"),
    ("Espresso Beans", "tea and coffee"),
    ("Filter Coffee", "tea and coffee"),
    ("Chickpeas", "tins"),
    ("Tomatoes", "tins"),
    ("Sardines", "tins"),
    ("Sweetcorn", "tins"),
    ("Kidney Beans", "tins"),
    ("Coconut Milk", "tins"),
    ("Dark Chocolate", "sweets"),
    ("Almond Biscuits", "sweets"),
    ("Liquorice", "sweets"),
    ("Nougat", "sweets"),
    ("Dried Figs", "fruit and nuts"),
    ("Walnuts", "fruit and nuts"),
    ("Cashews", "fruit and nuts"),
];

const SIZES: [&str; 10] =
    ["100 g", "150 g", "200 g", "250 g", "330 g", "500 g", "750 g", "1 kg", "2 kg", "5 kg"];

/// As written, and as an e-mail address has it.
const FIRST_NAMES: [(&str, &str); 32] = [
    ("Ada", "ada"),
    ("Amélie", "amelie"),
    ("Anton", "anton"),
    ("Aylin", "aylin"),
    ("Bjørn", "bjorn"),
    ("Chiara", "chiara"),
    ("Chloé", "chloe"),
    ("Daniel", "daniel"),
    ("Elif", "elif"),
    ("Emeka", "emeka"),
    ("Fatima", "fatima"),
    ("Grace", "grace"),
    ("Hana", "hana"),
    ("Henrik", "henrik"),
    ("Ines", "ines"),
    ("Jakub", "jakub"),
    ("José", "jose"),
    ("Kenji", "kenji"),
    ("Leïla", "leila"),
    ("Lukas", "lukas"),
    ("Malik", "malik"),
    ("Marta", "marta"),
    ("Nadia", "nadia"),
    ("Niamh", "niamh"),
    ("Oskar", "oskar"),
    ("Priya", "priya"),
    ("Rosa", "rosa"),
    ("Søren", "soren"),
    ("Thandi", "thandi"),
    ("Wei", "wei"),
    ("Yusuf", "yusuf"),
    ("Zoë", "zoe"),
];

const LAST_NAMES: [(&str, &str); 32] = [
    ("Adeyemi", "adeyemi"),
    ("Andersson", "andersson"),
    ("Bianchi", "bianchi"),
    ("Çelik", "celik"),
    ("Chen", "chen"),
    ("Costa", "costa"),
    ("Dubois", "dubois"),
    ("Dvořák", "dvorak"),
    ("Eriksen", "eriksen"),
    ("Fischer", "fischer"),
    ("García", "garcia"),
    ("Haddad", "haddad"),
    ("Ivanova", "ivanova"),
    ("Jansen", "jansen"),
    ("Kaur", "kaur"),
    ("Kovács", "kovacs"),
    ("Lindqvist", "lindqvist"),
    ("Mbeki", "mbeki"),
    ("Müller", "mueller"),
    ("Murphy", "murphy"),
    ("Nakamura", "nakamura"),
    ("Nguyen", "nguyen"),
    ("Novak", "novak"),
    ("Okafor", "okafor"),
    ("Papadakis", "papadakis"),
    ("Petrov", "petrov"),
    ("Rossi", "rossi"),
    ("Schmidt", "schmidt"),
    ("Silva", "silva"),
    ("Tanaka", "tanaka"),
    ("Walsh", "walsh"),
    ("Yılmaz", "yilmaz"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_unique_is_unique() {
        assert_eq!(products().map(|it| it.name).collect::<HashSet<_>>().len(), PRODUCTS);
        assert_eq!(users().map(|it| it.email).collect::<HashSet<_>>().len(), USERS);
    }

    #[test]
    fn stars_are_stars_and_addresses_are_ascii() {
        assert!(products().flat_map(|it| it.reviews).all(|stars| (1..=5).contains(&stars)));
        assert!(products().any(|it| it.reviews.is_empty()));
        assert!(users().all(|it| it.email.is_ascii()));
    }

    #[test]
    fn the_data_is_the_same_on_every_machine() {
        let product = products().nth(4_999).unwrap();
        let user = users().nth(41).unwrap();
        assert_eq!(format!("{product:?} {user:?}"), GOLDEN);
    }

    const GOLDEN: &str = "SeedProduct { id: 5000, name: \"Slow-Cured Cashews 5 kg\", \
        category: \"fruit and nuts\", price_cents: 3337, stock: 426, reviews: [3, 3, 3, 4, 4] } \
        SeedUser { id: 42, email: \"elif.fischer.42@example.com\", name: \"Elif Fischer\", \
        created_at: 1704325039 }";
}
