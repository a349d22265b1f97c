//! The comparisons, as a table in Markdown.

use std::fmt;

use crate::rounds::Ratio;

/// What is compared: one line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) peer: &'static str,
    pub(crate) figures: Figures,
    pub(crate) goal: Goal,
}

pub(crate) enum Figures {
    /// Nanoseconds an operation.
    Nanos { ours: f64, peers: f64, ratio: Ratio },
    /// Operations a second.
    Rate { ours: f64, peers: f64, ratio: Ratio },
    /// Something counted; the worst of the rounds.
    Count(u64),
    /// Milliseconds, of which there is no peer's.
    Millis(f64),
}

/// What the ratio, the count or the time has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Exactly(u64),
    None,
}

impl Row {
    fn is_met(&self) -> Option<bool> {
        let value = match &self.figures {
            Figures::Nanos { ratio, .. } | Figures::Rate { ratio, .. } => ratio.median,
            Figures::Count(count) => *count as f64,
            Figures::Millis(millis) => *millis,
        };
        match self.goal {
            Goal::AtMost(limit) => Some(value <= limit),
            Goal::Below(limit) => Some(value < limit),
            Goal::AtLeast(limit) => Some(value >= limit),
            Goal::Exactly(count) => Some(value == count as f64),
            Goal::None => None,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "≤ {}", (limit * 100.0).round() / 100.0),
            Self::Below(limit) => write!(f, "< {limit}"),
            Self::AtLeast(limit) => write!(f, "≥ {limit}"),
            Self::Exactly(count) => write!(f, "{count}"),
            Self::None => f.write_str("–"),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.lowest, self.highest)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, peer, figures, goal } = self;
        write!(f, "| {what} | {peer} | ")?;
        match figures {
            Figures::Nanos { ours, peers, ratio } => {
                write!(f, "{ours:.0} ns | {peers:.0} ns | {ratio}")?;
            }
            Figures::Rate { ours, peers, ratio } => {
                let (ours, peers) = (ours / 1_000.0, peers / 1_000.0);
                write!(f, "{ours:.1} k/s | {peers:.1} k/s | {ratio}")?;
            }
            Figures::Count(count) => write!(f, "{count} | – | –")?,
            Figures::Millis(millis) => write!(f, "{millis:.2} ms | – | –")?,
        }
        let met = match self.is_met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        write!(f, " | {goal} | {met} |")
    }
}

/// The lines above the rows.
pub(crate) const HEAD: &str = "\
| what | the peer | Larder | peer | ratio (lowest–highest) | goal | met |
| --- | --- | ---: | ---: | --- | --- | --- |";
