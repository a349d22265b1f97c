//! Chromium, driven by chromedriver.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use larder_tests::process::Process;
use serde_json::{Map, Value};

/// For what takes a moment, on a machine that does other work too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A driver. The browsers that it has started end with it.
pub(crate) struct Driver {
    process: Process,
    address: String,
}

impl Driver {
    pub(crate) fn start() -> Result<Self> {
        let process = Process::start_group(Command::new("chromedriver").arg("--port=0"))
            .context("chromedriver is missing: run `cargo xtask setup`")?;
        let port = process.wait_for(PATIENCE, |line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        })?;
        Ok(Self { process, address: format!("http://127.0.0.1:{port}") })
    }

    /// A browser with a profile of its own: it shares no cookies with others.
    pub(crate) async fn browser(&self) -> Result<Client> {
        let options = include_str!("../../webdriver.json");
        let options: Map<String, Value> = serde_json::from_str(options)?;
        ClientBuilder::new(HttpConnector::new())
            .capabilities(options)
            .connect(&self.address)
            .await
            .with_context(|| format!("Chromium does not start: {}", self.process.said()))
    }
}

/// Waits until there is such an element.
pub(crate) async fn wait_for(browser: &Client, css: &str) -> Result<Element> {
    let found = browser.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
    found.with_context(|| format!("{css} does not come"))
}
