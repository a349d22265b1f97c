//! The page of several servers, used in Chromium.

mod chromium;

use anyhow::{Context, Result, ensure};
use chromium::{Driver, PATIENCE, wait_for};
use fantoccini::{Client, Locator};
use larder_tests::demo_server::DemoServer;
use tokio::task::spawn_blocking;

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_a_change_reach_every_node_and_a_bus_break() -> Result<()> {
    let start = || DemoServer::start(&["--nodes", "3", "--rate-limit", "0"]);
    let server = spawn_blocking(start).await??;
    let told = shows_the_nodes(server.base()).await;
    told.with_context(|| format!("the server said:\n{}", server.said()))
}

async fn shows_the_nodes(base: &str) -> Result<()> {
    let driver = Driver::start()?;
    let page = Page { browser: driver.browser().await? };
    page.browser.goto(base).await?;
    wait_for(&page.browser, "#each-node tr:nth-child(3)").await?;

    page.click("rename").await?;
    page.shows("//*[@id='nodes-said'][contains(., 'every node showed it')]").await?;
    let told = page.browser.find_all(Locator::Css("#each-node td:nth-child(2)")).await?;
    let mut names = Vec::new();
    for name in told {
        names.push(name.text().await?);
    }
    ensure!(names.len() == 3 && names.iter().all(|it| it.starts_with("Zoë ")), "{names:?}");

    page.browser.find(Locator::Id("node-at")).await?.select_by_label("2").await?;
    page.click("broken").await?;
    page.shows("//*[@id='each-node']/tr[2]/td[contains(., 'broken: checks first')]").await?;
    page.shows("//*[@id='each-node']/tr[1]/td[contains(., 'heard')]").await?;
    page.click("whole").await?;
    page.shows("//*[@id='each-node']/tr[2]/td[.='heard']").await
}

struct Page {
    browser: Client,
}

impl Page {
    async fn click(&self, what: &str) -> Result<()> {
        let button = format!("button[data-nodes={what}]");
        Ok(self.browser.find(Locator::Css(&button)).await?.click().await?)
    }

    async fn shows(&self, xpath: &str) -> Result<()> {
        let wait = self.browser.wait().at_most(PATIENCE);
        wait.for_element(Locator::XPath(xpath)).await.with_context(|| format!("no {xpath}"))?;
        Ok(())
    }
}
