//! What a suite counts, and the table that a run ends with.

use std::{fmt, process::ExitCode, time::Duration};

use anyhow::Result;

/// What passed and what failed in one suite.
#[derive(Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    /// Names of what failed, for the end of the run.
    failures: Vec<String>,
}

impl Tally {
    /// Counts a check, and shows why where it failed.
    pub(crate) fn check(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("FAILED {name}: {error:#}");
                self.fail(name);
            }
        }
    }

    /// Counts one failure.
    pub(crate) fn fail(&mut self, name: impl Into<String>) {
        self.failed += 1;
        self.failures.push(name.into());
    }

    /// Adds what a test program counted; the names of its failures come by [`Tally::name`].
    pub(crate) fn add(&mut self, passed: u64, failed: u64) {
        self.passed += passed;
        self.failed += failed;
    }

    /// Names a failure that is counted elsewhere.
    pub(crate) fn name(&mut self, failure: impl Into<String>) {
        self.failures.push(failure.into());
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (u64, u64, &[String]) {
        (self.passed, self.failed, &self.failures)
    }
}

/// A suite that has run.
pub(crate) struct Report {
    suite: String,
    tally: Tally,
    took: Duration,
}

impl Report {
    /// Closes a suite. One that counted nothing has failed: it was there to test something.
    pub(crate) fn new(suite: impl Into<String>, mut tally: Tally, took: Duration) -> Self {
        if tally.passed + tally.failed == 0 {
            tally.fail("ran no tests");
        }
        Self { suite: suite.into(), tally, took }
    }
}

/// All reports of a run.
#[derive(Default)]
pub(crate) struct Summary(Vec<Report>);

impl Summary {
    pub(crate) fn push(&mut self, report: Report) {
        self.0.push(report);
    }

    pub(crate) fn extend(&mut self, reports: impl IntoIterator<Item = Report>) {
        self.0.extend(reports);
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.0.is_empty() || self.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn passed(&self) -> u64 {
        self.0.iter().map(|report| report.tally.passed).sum()
    }

    fn failed(&self) -> u64 {
        self.0.iter().map(|report| report.tally.failed).sum()
    }
}

/// The failures by name, the table, and last the line that CI reads.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failed() > 0 {
            writeln!(f, "\nfailures:")?;
            for report in &self.0 {
                for failure in &report.tally.failures {
                    writeln!(f, "    {}: {failure}", report.suite)?;
                }
            }
        }
        let width = self.0.iter().map(|report| report.suite.len()).max().unwrap_or(0).max(5);
        writeln!(f, "\n{:width$}  {:>6}  {:>6}  {:>7}", "suite", "passed", "failed", "seconds")?;
        for Report { suite, tally, took } in &self.0 {
            let (passed, failed, seconds) = (tally.passed, tally.failed, took.as_secs_f64());
            writeln!(f, "{suite:width$}  {passed:>6}  {failed:>6}  {seconds:>7.1}")?;
        }
        let seconds: f64 = self.0.iter().map(|report| report.took.as_secs_f64()).sum();
        writeln!(
            f,
            "{:width$}  {:>6}  {:>6}  {seconds:>7.1}\n",
            "all",
            self.passed(),
            self.failed()
        )?;
        writeln!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;

    use super::{Report, Summary, Tally};

    fn summary(tally: Tally) -> String {
        let mut summary = Summary::default();
        summary.push(Report::new("a suite", tally, Duration::from_secs(1)));
        summary.to_string()
    }

    #[test]
    fn the_last_line_counts_everything() {
        let mut tally = Tally::default();
        tally.check("one", Ok(()));
        tally.check("two", Err(anyhow!("broken")));
        tally.add(3, 0);
        let text = summary(tally);
        assert!(text.ends_with("\n4 passed, 1 failed\n"), "{text}");
        assert!(text.contains("a suite: two"), "{text}");
    }

    #[test]
    fn a_suite_that_ran_nothing_has_failed() {
        let text = summary(Tally::default());
        assert!(text.ends_with("\n0 passed, 1 failed\n"), "{text}");
        assert!(text.contains("ran no tests"), "{text}");
    }
}
