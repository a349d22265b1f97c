//! The settings, kept by time alone.

use anyhow::{Context, Result, ensure};

use super::Shop;
use super::case::{Case, Need, cases};
use super::shop::same;

pub(super) const CASES: &[Case] = cases!["config":
    the_settings_are_asked_for_once [Need::OneProcess],
    the_settings_name_the_shop,
    a_write_elsewhere_does_not_touch_them,
];

const PATH: &str = "/api/v1/config";

async fn the_settings_are_asked_for_once(shop: Shop) -> Result<()> {
    shop.get(PATH).await?.json()?;
    let before = shop.stats().await?;
    for _ in 0..5 {
        shop.get(PATH).await?.expect_cache("HIT")?;
    }
    let after = shop.stats().await?;
    same("calls of the database", after.database_calls()?, before.database_calls()?)?;
    same("hits", after.of_cache("config", "hits")? - before.of_cache("config", "hits")?, 5)?;
    same("loads", after.of_cache("config", "loads")?, 1)
}

async fn the_settings_name_the_shop(shop: Shop) -> Result<()> {
    let settings = shop.get(PATH).await?.json()?;
    let settings = settings.as_object().context("an object")?;
    ensure!(settings.get("shopName").is_some_and(|name| name.is_string()), "{settings:?}");
    Ok(())
}

async fn a_write_elsewhere_does_not_touch_them(shop: Shop) -> Result<()> {
    shop.get(PATH).await?.json()?;
    let change = serde_json::json!({ "name": "Someone Else" });
    shop.put("/api/v1/users/61", &change).await?.json()?;
    shop.get(PATH).await?.expect_cache("HIT")?;
    Ok(())
}
