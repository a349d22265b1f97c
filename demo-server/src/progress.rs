//! How far the database has been filled: a bar on a terminal, lines elsewhere. On standard error.

use std::io::{IsTerminal, Write, stderr};
use std::ops::ControlFlow;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use crate::fill::Filling;

/// Lines are written every so many percent.
const PERCENT_PER_LINE: usize = 25;

/// What [`SqliteDatabase::open`](crate::SqliteDatabase::open) is to tell.
pub(crate) fn report(path: &Path) -> impl FnMut(Filling) -> ControlFlow<()> + Send + 'static {
    let path = path.display().to_string();
    let bar = stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template(
            "filling {msg}  {bar:30}  {human_pos} of {human_len} products and users",
        );
        ProgressBar::new(0)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_message(path.clone())
    });
    let mut due = 0;
    move |filling| {
        if let Some(bar) = &bar {
            bar.set_length(filling.of as u64);
            bar.set_position(filling.done as u64);
            if filling.done == filling.of {
                bar.finish();
            }
        } else {
            let percent = 100 * filling.done / filling.of.max(1);
            if percent >= due {
                due = percent - percent % PERCENT_PER_LINE + PERCENT_PER_LINE;
                let _ = writeln!(stderr(), "filling {path}: {percent} %");
            }
        }
        ControlFlow::Continue(())
    }
}
