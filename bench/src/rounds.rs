//! Contestants take turns, so that whatever else the machine does meets all of them alike.

use std::time::Duration;

use anyhow::Result;

/// A measurement of one contestant, once.
pub(crate) type Turn<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// What the contestants did, round by round.
pub(crate) struct Results(Vec<Round>);

/// The turns of each contestant.
struct Round(Vec<Vec<f64>>);

/// How often and for how long contestants have their turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    /// Of each contestant, in a round.
    pub(crate) turns: usize,
    pub(crate) turn: Duration,
}

/// Every contestant has one turn a round, each round beginning with another of them. One round
/// before those that count warms everything up.
pub(crate) fn play(rounds: usize, contestants: Vec<Turn<'_>>) -> Result<Results> {
    let Round(contestants) = Round::played(rounds, contestants)?;
    let round = |at| Round(contestants.iter().map(|turns| vec![turns[at]]).collect());
    Ok(Results((0..rounds).map(round).collect()))
}

/// Every contestant starts anew for each round, and has many turns in it, each of which stands
/// beside one of every other's.
///
/// Where a program's memory happens to lie makes it some percent slower or faster for as long as it
/// runs; and what else a machine does lasts for longer than a short turn, or is met by few of them.
pub(crate) fn play_anew<'a>(
    pace: Pace,
    mut start: impl FnMut() -> Result<Vec<Turn<'a>>>,
) -> Result<Results> {
    (0..pace.rounds)
        .map(|_| Round::played(pace.turns, start()?))
        .collect::<Result<_>>()
        .map(Results)
}

impl Round {
    fn played(turns: usize, mut contestants: Vec<Turn<'_>>) -> Result<Self> {
        let mut results = vec![Vec::with_capacity(turns); contestants.len()];
        for contestant in &mut contestants {
            contestant()?;
        }
        for first in 0..turns {
            for next in 0..contestants.len() {
                let who = (first + next) % contestants.len();
                results[who].push(contestants[who]()?);
            }
        }
        Ok(Self(results))
    }

    fn ratio(&self, who: usize, to: usize) -> f64 {
        median(self.0[who].iter().zip(&self.0[to]).map(|(who, to)| who / to).collect())
    }
}

impl Results {
    /// The median of a contestant's turns.
    pub(crate) fn median(&self, who: usize) -> f64 {
        median(self.0.iter().flat_map(|round| &round.0[who]).copied().collect())
    }

    /// How one contestant stands to another, each round by itself: in the median of its turns.
    pub(crate) fn ratio(&self, who: usize, to: usize) -> Ratio {
        let ratios: Vec<f64> = self.0.iter().map(|round| round.ratio(who, to)).collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        Ratio { median: median(ratios), lowest, highest }
    }
}

/// The median of the rounds' ratios, and how far they are apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let middle = of.len() / 2;
    match of.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(of[middle - 1], of[middle]),
        _ => of[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_a_ratio_of_its_own() {
        // The machine slows down, for both alike.
        let (mut a, mut b) = ([9.0, 1.0, 2.0, 3.0].into_iter(), [9.0, 2.0, 4.0, 6.0].into_iter());
        let results =
            play(3, vec![Box::new(|| Ok(a.next().unwrap())), Box::new(|| Ok(b.next().unwrap()))])
                .unwrap();
        assert_eq!(results.median(0), 2.0);
        let ratio = results.ratio(0, 1);
        assert_eq!((ratio.lowest, ratio.median, ratio.highest), (0.5, 0.5, 0.5));
    }

    #[test]
    fn a_round_has_the_ratio_of_its_neighbouring_turns() {
        let pace = Pace { rounds: 3, turns: 3, turn: Duration::ZERO };
        let mut started = 0.0;
        let results = play_anew(pace, || {
            started += 1.0;
            // Something makes both slow, in a turn each.
            let mut a = [9.0, 4.0, 1.0, 4.0].map(|it| it * started).into_iter();
            let mut b = [9.0, 8.0, 2.0, 8.0].into_iter();
            Ok(vec![
                Box::new(move || Ok(a.next().unwrap())) as Turn<'_>,
                Box::new(move || Ok(b.next().unwrap())),
            ])
        });
        let results = results.unwrap();
        let ratio = results.ratio(0, 1);
        assert_eq!((ratio.lowest, ratio.median, ratio.highest), (0.5, 1.0, 1.5));
        assert_eq!(results.median(1), 8.0);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
