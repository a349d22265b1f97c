use super::{SETTINGS, products, users};

/// Within the 100,000 bytes that D1 allows a statement.
const LONGEST_STATEMENT: usize = 90_000;

/// The rows as SQL, for a database that takes no parameters: statements within D1's limits, each
/// with its semicolon. What is there already stays as it is. `most` limits how many products and
/// how many users there are.
///
/// The settings come last: a database that is [ready](crate::Database::ready) has everything.
///
/// ```
/// use larder_demo::seed;
///
/// assert!(seed::statements(seed::PRODUCTS).all(|statement| statement.len() <= 100_000));
/// ```
pub fn statements(most: usize) -> impl Iterator<Item = String> {
    let of_products = products().take(most).map(|it| {
        let (name, category) = (text(&it.name), text(it.category));
        format!("({},{name},{category},{},{})", it.id, it.price_cents, it.stock)
    });
    let of_reviews = products()
        .take(most)
        .flat_map(|it| it.reviews.into_iter().map(move |stars| (it.id, stars)));
    let of_reviews = (1..).zip(of_reviews).map(|(id, (product, stars))| {
        let id: i64 = id;
        format!("({id},{product},{stars})")
    });
    let of_users = users()
        .take(most)
        .map(|it| format!("({},{},{},{})", it.id, text(&it.email), text(&it.name), it.created_at));
    let of_settings =
        SETTINGS.into_iter().map(|(name, value)| format!("({},{})", text(name), text(value)));
    batches(
        "INSERT OR IGNORE INTO products (id, name, category, price_cents, stock) VALUES",
        "",
        of_products,
    )
    .chain(batches("INSERT OR IGNORE INTO reviews (id, product_id, stars) VALUES", "", of_reviews))
    .chain(batches(
        "INSERT OR IGNORE INTO users (id, email, name, created_at) SELECT column1, column2, \
             column3, strftime('%Y-%m-%dT%H:%M:%fZ', column4, 'unixepoch') FROM (VALUES",
        ")",
        of_users,
    ))
    .chain(batches("INSERT OR IGNORE INTO settings (name, value) VALUES", "", of_settings))
}

/// As few statements as the limit allows, each with some of the rows.
fn batches(
    begin: &'static str,
    end: &'static str,
    rows: impl Iterator<Item = String>,
) -> impl Iterator<Item = String> {
    let mut rows = rows.peekable();
    std::iter::from_fn(move || {
        let mut statement = format!("{begin} {}", rows.next()?);
        while let Some(row) = rows.next_if(|row| statement.len() + row.len() < LONGEST_STATEMENT) {
            statement.push_str(",\n");
            statement.push_str(&row);
        }
        Some(statement + end + ";")
    })
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
