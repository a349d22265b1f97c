//! Contestants take turns, so that whatever else the machine does meets all of them alike.

use anyhow::Result;

/// A measurement of one contestant, once.
pub(crate) type Turn<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// What each contestant did, round by round.
pub(crate) struct Results(Vec<Vec<f64>>);

/// Every contestant has one turn a round, each round beginning with another of them. One round
/// before those that count warms everything up.
pub(crate) fn play(rounds: usize, mut contestants: Vec<Turn<'_>>) -> Result<Results> {
    let mut results = vec![Vec::with_capacity(rounds); contestants.len()];
    for contestant in &mut contestants {
        contestant()?;
    }
    for round in 0..rounds {
        for turn in 0..contestants.len() {
            let who = (round + turn) % contestants.len();
            results[who].push(contestants[who]()?);
        }
    }
    Ok(Results(results))
}

impl Results {
    /// The median of a contestant's rounds.
    pub(crate) fn median(&self, who: usize) -> f64 {
        median(self.0[who].clone())
    }

    /// How one contestant stands to another, each round by itself.
    pub(crate) fn ratio(&self, who: usize, to: usize) -> Ratio {
        let ratios: Vec<f64> =
            self.0[who].iter().zip(&self.0[to]).map(|(who, to)| who / to).collect();
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
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
