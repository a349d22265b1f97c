//! The page of accounts, used in two Chromiums: on the native server, and on the Worker.

mod chromium;
mod demo_worker;

use anyhow::{Context, Result, ensure};
use chromium::{Driver, wait_for};
use fantoccini::{Client, Locator};
use larder_tests::demo_server::DemoServer;
use tokio::task::spawn_blocking;

const EMAIL: &str = "zoe@example.org";
const PASSWORD: &str = "correct horse battery";

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_everywhere_is_out_everywhere_of_the_native_server() -> Result<()> {
    let server = spawn_blocking(DemoServer::in_memory).await??;
    let told = signs_out_everywhere(server.base(), "session").await;
    told.with_context(|| format!("the server said:\n{}", server.said()))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_everywhere_is_out_everywhere_of_the_worker() -> Result<()> {
    let start = || demo_worker::filled(demo_worker::unlimited()?, 50);
    let worker = spawn_blocking(start).await??;
    let told = signs_out_everywhere(worker.base(), "__Host-session").await;
    told.with_context(|| format!("the Worker said:\n{}", worker.said()))
}

async fn signs_out_everywhere(base: &str, cookie: &str) -> Result<()> {
    let driver = Driver::start()?;
    let first = Page::open(&driver, base).await?;
    let second = Page::open(&driver, base).await?;

    first.put_into_the_cart(42, 2).await?;
    first.enter("signup", PASSWORD).await?;
    first.until_shown(EMAIL).await?;
    first.expect_in_the_cart(42, "2").await.context("the cart did not stay")?;
    ensure!(first.rows("#sessions tr").await? == 1, "it is signed in somewhere else");

    second.enter("signin", "a wrong password").await?;
    second.said("there is no account").await?;
    second.until_shown("nobody").await?;
    second.enter("signin", PASSWORD).await?;
    second.until_shown(EMAIL).await?;
    ensure!(second.rows("#cart[hidden]").await? == 1, "it has the other browser's cart");
    ensure!(second.rows("#sessions tr").await? == 2, "the other browser is not listed");
    ensure!(second.rows("#sessions b").await? == 1, "it does not know which one it is");

    for page in [&first, &second] {
        let held = page.browser.get_named_cookie(cookie).await?;
        ensure!(held.http_only() == Some(true), "scripts can read {held}");
        let seen = page.browser.execute("return document.cookie", vec![]).await?;
        ensure!(seen == "", "scripts see {seen}");
    }

    first.click("everywhere").await?;
    first.until_shown("nobody").await?;
    second.browser.refresh().await?;
    second.until_shown("nobody").await.context("the second browser is still signed in")?;
    ensure!(second.rows("#places[hidden]").await? == 1, "sessions are listed still");

    // Whoever is out can come back.
    second.enter("signin", PASSWORD).await?;
    second.until_shown(EMAIL).await?;
    ensure!(second.rows("#sessions tr").await? == 1, "a session came back");
    second.click("signout").await?;
    second.until_shown("nobody").await?;
    first.browser.close().await?;
    Ok(second.browser.close().await?)
}

/// The page in a browser of its own.
struct Page {
    browser: Client,
}

impl Page {
    async fn open(driver: &Driver, base: &str) -> Result<Self> {
        let page = Self { browser: driver.browser().await? };
        page.browser.goto(&format!("{base}/account")).await?;
        page.until_shown("nobody").await?;
        Ok(page)
    }

    /// Waits until it shows who is signed in, or that nobody is.
    async fn until_shown(&self, who: &str) -> Result<()> {
        let shown = wait_for(&self.browser, &format!("body[data-shown='{who}']")).await;
        match shown {
            Ok(_) => Ok(()),
            Err(error) => {
                let said = self.browser.find(Locator::Id("said")).await?.text().await?;
                Err(error).with_context(|| format!("the page says {said:?}"))
            }
        }
    }

    async fn fill(&self, input: &str, text: &str) -> Result<()> {
        let input = self.browser.find(Locator::Id(input)).await?;
        input.clear().await?;
        Ok(input.send_keys(text).await?)
    }

    async fn click(&self, button: &str) -> Result<()> {
        Ok(self.browser.find(Locator::Id(button)).await?.click().await?)
    }

    async fn enter(&self, button: &str, password: &str) -> Result<()> {
        self.fill("email", EMAIL).await?;
        self.fill("password", password).await?;
        self.click(button).await
    }

    async fn put_into_the_cart(&self, product: u32, amount: u32) -> Result<()> {
        self.fill("product", &product.to_string()).await?;
        self.fill("amount", &amount.to_string()).await?;
        self.browser.find(Locator::Css("#add button")).await?.click().await?;
        self.expect_in_the_cart(product, &amount.to_string()).await
    }

    async fn expect_in_the_cart(&self, product: u32, amount: &str) -> Result<()> {
        let input = format!("#items tr[data-product='{product}'] input");
        let found = wait_for(&self.browser, &input).await?.prop("value").await?;
        ensure!(found.as_deref() == Some(amount), "{found:?} of it are in the cart");
        Ok(())
    }

    async fn rows(&self, css: &str) -> Result<usize> {
        Ok(self.browser.find_all(Locator::Css(css)).await?.len())
    }

    /// Waits until the page says so.
    async fn said(&self, text: &str) -> Result<()> {
        let xpath = format!("//*[@id='said'][contains(., '{text}')]");
        let wait = self.browser.wait().at_most(chromium::PATIENCE);
        wait.for_element(Locator::XPath(&xpath)).await.with_context(|| format!("no {text:?}"))?;
        Ok(())
    }
}
