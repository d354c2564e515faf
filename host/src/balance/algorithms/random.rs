//! At random, by weight.

use super::below;

/// Draws by weight in constant time (the alias method: Walker 1977, Vose 1991).
///
/// Every position has a column of the same height. What a light one leaves free of its column a heavy one fills, so that a
/// draw is a column and a coin.
#[derive(Clone, Debug)]
pub struct Random {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// The coin's share for the column's own position, of 2^32.
    own: u32,
    /// Whose the rest is.
    other: u32,
}

impl Random {
    /// Over endpoints with these weights; one with weight zero is never drawn, unless all are.
    pub fn new(weights: &[u32]) -> Self {
        let (count, total) = (weights.len() as u64, weights.iter().map(|weight| u64::from(*weight)).sum::<u64>());
        let mut left: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * count).collect();
        let full = |at: usize| Column { own: u32::MAX, other: at as u32 };
        let mut columns: Vec<Column> = (0..weights.len()).map(full).collect();
        let (mut light, mut heavy): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|at| height(&left, *at) < total);
        while let (Some(low), Some(high)) = (light.pop(), heavy.last().copied()) {
            let (own, rest) = (height(&left, low), total - height(&left, low));
            if let (Some(column), Some(left)) = (columns.get_mut(low), left.get_mut(high)) {
                *column = Column { own: ((own << 32) / total.max(1)) as u32, other: high as u32 };
                *left -= rest;
                if *left < total {
                    light.extend(heavy.pop());
                }
            }
        }
        Self { columns }
    }

    /// The position that `random` draws.
    pub fn pick(&self, random: u64) -> Option<usize> {
        let at = below(random, self.columns.len());
        let column = self.columns.get(at)?;
        Some(if (random as u32) < column.own { at } else { column.other as usize })
    }
}

#[cfg(test)]
impl Random {
    /// The share of each position.
    pub fn shares(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.columns.len()];
        for (at, column) in self.columns.iter().enumerate() {
            let own = f64::from(column.own) / 2f64.powi(32);
            for (owner, share) in [(at, own), (column.other as usize, 1.0 - own)] {
                shares.get_mut(owner).into_iter().for_each(|sum| *sum += share / self.columns.len() as f64);
            }
        }
        shares
    }
}

fn height(left: &[u64], at: usize) -> u64 {
    left.get(at).copied().unwrap_or(0)
}
