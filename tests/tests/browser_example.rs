//! The page of `examples/browser`, clicked in Chromium: served as `cargo xtask browser` serves it.

mod chromium;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chromium::{Driver, wait_for};
use fantoccini::{Client, Locator};
use larder_tests::process::Process;

/// For the server, which may have to build the page first.
const PATIENCE_OF_BUILDS: Duration = Duration::from_secs(600);
/// How long the page's origin takes for an answer, in milliseconds.
const DELAY: f64 = 600.0;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_once_is_answered_from_the_cache() -> Result<()> {
    let mut page = Page::open().await?;

    let first = page.click("load", 1).await?;
    ensure!(first.source == "origin" && first.text.contains("Olive oil"), "{first:?}");
    ensure!(first.milliseconds >= DELAY, "the origin takes longer: {first:?}");

    let second = page.click("load", 1).await?;
    ensure!(second.source == "cache" && second.text == first.text, "{second:?}");
    ensure!(second.milliseconds < DELAY / 2.0, "a hit does not ask the origin: {second:?}");

    ensure!(page.stats().await? == [1, 1, 1, 0], "{:?}", page.stats().await?);
    ensure!(page.asked("products/1.json") == 1, "the origin was asked again");
    page.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_ask_the_origin_once() -> Result<()> {
    let mut page = Page::open().await?;

    let all = page.click("many", 2).await?;
    ensure!(all.source == "origin" && all.text.contains("Lentils"), "{all:?}");
    ensure!(all.text.contains("50 answers for 1 question "), "{all:?}");
    ensure!(page.asked("products/2.json") == 1, "the origin was asked more than once");
    let [_, _, loads, waited] = page.stats().await?;
    ensure!([loads, waited] == [1, 49], "{loads} loads, {waited} waited");

    let again = page.click("many", 2).await?;
    ensure!(again.source == "cache" && again.text.contains("0 questions"), "{again:?}");
    ensure!(page.asked("products/2.json") == 1, "the origin was asked again");
    page.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_loaded_again() -> Result<()> {
    let mut page = Page::open().await?;

    let nothing = page.click("remove", 3).await?;
    ensure!(nothing.text.contains("nothing to forget"), "{nothing:?}");
    page.click("load", 3).await?;
    let forgotten = page.click("remove", 3).await?;
    ensure!(forgotten.text.contains("forgotten"), "{forgotten:?}");
    let again = page.click("load", 3).await?;
    ensure!(again.source == "origin" && again.text.contains("Sourdough"), "{again:?}");
    ensure!(page.asked("products/3.json") == 2, "the origin was not asked again");
    page.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_no_such_product_is_kept_too() -> Result<()> {
    let mut page = Page::open().await?;

    for source in ["origin", "cache"] {
        let row = page.click("load", 4).await?;
        ensure!(row.source == source && row.text.contains("no such product"), "{row:?}");
    }
    ensure!(page.asked("products/4.json") == 1, "the origin was asked again");
    page.close().await
}

/// The page in a browser of its own, on a server of its own. All end with it.
struct Page {
    browser: Client,
    server: Process,
    rows: usize,
    _driver: Driver,
}

/// What the page says of one click.
#[derive(Debug)]
struct Row {
    source: String,
    text: String,
    milliseconds: f64,
}

impl Page {
    async fn open() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let server = Process::start_group(
            Command::new(cargo)
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
                .args(["xtask", "browser", "--port", "0", "--no-install"]),
        )?;
        let address = server
            .wait_for(PATIENCE_OF_BUILDS, |line| {
                line.strip_prefix("listening on ").map(str::to_owned)
            })
            .context("the page is not served")?;
        let driver = Driver::start()?;
        let browser = driver.browser().await?;
        browser.goto(&address).await?;
        let page = Self { browser, server, rows: 0, _driver: driver };
        page.wait_for("#load:enabled").await.context("the page is not ready")?;
        Ok(page)
    }

    /// Chooses a product, clicks a button, and reads what the page says of it.
    async fn click(&mut self, button: &str, product: u32) -> Result<Row> {
        let choice = self.browser.find(Locator::Id("product")).await?;
        choice.select_by_value(&product.to_string()).await?;
        self.browser.find(Locator::Id(button)).await?.click().await?;
        self.rows += 1;
        // The newest stands first.
        let row = format!("#log li[data-action={button}]:nth-last-child({})", self.rows);
        let row = self.wait_for(&row).await?;
        let attribute = async |name: &str| {
            let value = row.attr(&format!("data-{name}")).await?;
            value.with_context(|| format!("the row has no {name}"))
        };
        ensure!(attribute("id").await? == product.to_string(), "it is of another product");
        Ok(Row {
            source: attribute("source").await?,
            text: row.find(Locator::Css(".text")).await?.text().await?,
            milliseconds: attribute("milliseconds").await?.parse()?,
        })
    }

    /// Hits, misses, loads, and those that waited for another.
    async fn stats(&self) -> Result<[u32; 4]> {
        let mut stats = [0; 4];
        for (stat, id) in stats.iter_mut().zip(["hits", "misses", "loads", "waited"]) {
            *stat = self.browser.find(Locator::Id(id)).await?.text().await?.parse()?;
        }
        Ok(stats)
    }

    /// How often the origin was asked for a file.
    fn asked(&self, file: &str) -> usize {
        let line = format!("the origin is asked for {file}");
        self.server.said().lines().filter(|said| *said == line).count()
    }

    async fn wait_for(&self, css: &str) -> Result<fantoccini::elements::Element> {
        let found = wait_for(&self.browser, css).await;
        found.with_context(|| format!("the server said:\n{}", self.server.said()))
    }

    async fn close(self) -> Result<()> {
        Ok(self.browser.close().await?)
    }
}
