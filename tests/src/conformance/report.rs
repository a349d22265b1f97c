//! What a run came to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Claims;

/// What a run of cases on one backend came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The backend's name.
    pub backend: String,
    /// Its cases, in the order they ran.
    pub cases: Vec<CaseReport>,
}

/// A report, and what the backend claimed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What the backend's store says of itself.
    pub claims: Claims,
    /// What its cases came to.
    pub report: Report,
}

/// What one case came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CaseReport {
    /// The case's name.
    pub case: String,
    /// The promise that it holds the backend to.
    pub semantic: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
pub enum Outcome {
    /// The backend does it.
    Passed,
    /// It does not, and this is what went wrong.
    Failed(String),
    /// It does not claim to, for this reason.
    NotClaimed(String),
}

impl Report {
    /// How many cases passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::Passed)
    }

    /// How many cases failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// How many cases the backend does not claim.
    #[must_use]
    pub fn not_claimed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::NotClaimed(_)))
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.cases.iter().filter(|case| is(&case.outcome)).count()
    }

    fn outcome_of(&self, name: &str) -> Option<&Outcome> {
        self.cases.iter().find(|case| case.case == name).map(|case| &case.outcome)
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Passed => write!(f, "{} ... passed", self.case),
            Outcome::Failed(why) => write!(f, "{} ... FAILED\n    {why}", self.case),
            Outcome::NotClaimed(why) => write!(f, "{} ... not claimed: {why}", self.case),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            writeln!(f, "{case}")?;
        }
        write!(
            f,
            "{}: {} passed, {} failed, {} not claimed",
            self.backend,
            self.passed(),
            self.failed(),
            self.not_claimed()
        )
    }
}

/// The reports of several backends as one table, a row for each case, and below it the reasons of
/// what is not claimed.
#[must_use]
pub fn markdown(reports: &[Report]) -> String {
    let mut table = String::from("| case | semantic |");
    let mut rule = String::from("| --- | --- |");
    for report in reports {
        table.push_str(&format!(" {} |", report.backend));
        rule.push_str(" --- |");
    }
    table.push('\n');
    table.push_str(&rule);
    table.push('\n');
    let mut reasons: Vec<&str> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for case in reports.iter().flat_map(|report| &report.cases) {
        if seen.contains(&case.case.as_str()) {
            continue;
        }
        seen.push(&case.case);
        table.push_str(&format!("| {} | {} |", case.case, case.semantic));
        for report in reports {
            table.push_str(&match report.outcome_of(&case.case) {
                None => " not run |".into(),
                Some(Outcome::Passed) => " yes |".into(),
                Some(Outcome::Failed(_)) => " **no** |".into(),
                Some(Outcome::NotClaimed(reason)) => {
                    let known = reasons.iter().position(|known| known == reason);
                    let number = known.unwrap_or_else(|| {
                        reasons.push(reason);
                        reasons.len() - 1
                    });
                    format!(" not claimed ({}) |", number + 1)
                }
            });
        }
        table.push('\n');
    }
    for (number, reason) in reasons.iter().enumerate() {
        table.push_str(&format!("\n{}. {reason}", number + 1));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(backend: &str, outcomes: &[(&str, Outcome)]) -> Report {
        let case = |(case, outcome): &(&str, Outcome)| CaseReport {
            case: (*case).into(),
            semantic: "1".into(),
            outcome: outcome.clone(),
        };
        Report { backend: backend.into(), cases: outcomes.iter().map(case).collect() }
    }

    #[test]
    fn a_table_names_what_is_not_claimed_and_why() {
        let table = markdown(&[
            report("memory", &[("a", Outcome::Passed), ("b", Outcome::Failed("x".into()))]),
            report("kv", &[("a", Outcome::NotClaimed("it is eventual".into()))]),
        ]);
        let expected = "| case | semantic | memory | kv |\n| --- | --- | --- | --- |\n\
                        | a | 1 | yes | not claimed (1) |\n| b | 1 | **no** | not run |\n\
                        \n1. it is eventual";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_report_goes_through_json() {
        let report = report("kv", &[("a", Outcome::NotClaimed("why".into()))]);
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""outcome":"not_claimed","reason":"why""#), "{json}");
        let back: Report = serde_json::from_str(&json).unwrap();
        assert_eq!((back.passed(), back.failed(), back.not_claimed()), (0, 0, 1));
    }
}
