//! balance: which address a request goes to.
//!
//! Pure: what is decided follows from shares, loads and the random numbers passed in. It never looks at connections.

mod random;

pub use random::Random;

use pillion_config::model::Balance;

/// The state of a choice among a fixed row of members; one for each worker.
#[derive(Debug)]
pub struct Picker {
    balance: Balance,
    /// Sums of the shares up to and including each member, for choices by chance.
    sums: Box<[u64]>,
    turn: Turn,
}

/// Whose turn it is.
#[derive(Debug)]
enum Turn {
    /// All shares are equal: the next in the row.
    Plain(usize),
    /// The credit of each member: it grows by its share and the richest pays for all.
    Smooth(Box<[i128]>),
}

/// Whether a member should take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Good,
    /// Only if no other can.
    Avoided,
}

impl Picker {
    /// A picker for a row of members with these shares.
    #[must_use]
    pub fn new(balance: Balance, shares: &[u64]) -> Self {
        let mut sum = 0u64;
        let sums = match balance {
            Balance::RoundRobin => Box::default(),
            Balance::Random | Balance::LeastRequest => shares
                .iter()
                .map(|share| {
                    sum = sum.saturating_add(*share);
                    sum
                })
                .collect(),
        };
        let equal = shares.windows(2).all(|pair| pair[0] == pair[1]);
        let turn = match balance {
            Balance::RoundRobin if !equal => Turn::Smooth(vec![0; shares.len()].into()),
            Balance::RoundRobin | Balance::Random | Balance::LeastRequest => Turn::Plain(0),
        };
        Self { balance, sums, turn }
    }

    /// Picks one of `shares`, the row this picker was made for; `None` if the row is empty.
    ///
    /// A member that is avoided is picked only when all are: otherwise the next good one in the row takes its place.
    pub fn pick(
        &mut self,
        shares: &[u64],
        mut random: impl FnMut() -> u64,
        load: impl Fn(usize) -> usize,
        standing: impl Fn(usize) -> Standing,
    ) -> Option<usize> {
        if shares.len() < 2 {
            return (!shares.is_empty()).then_some(0);
        }
        let picked = match self.balance {
            Balance::RoundRobin => match &mut self.turn {
                Turn::Plain(next) => in_turn(next, shares.len()),
                Turn::Smooth(credit) => smooth(shares, credit),
            },
            Balance::Random => by_chance(&self.sums, random()),
            Balance::LeastRequest => {
                let one = next_good(by_chance(&self.sums, random()), shares.len(), &standing);
                let drawn = by_chance(&self.sums, random());
                // Two different ones: among two endpoints the slow one would else get every fourth request.
                let other = if drawn == one { (drawn + 1) % shares.len() } else { drawn };
                let other = next_good(other, shares.len(), &standing);
                lighter((one, load(one), shares[one]), (other, load(other), shares[other]))
            }
        };
        Some(next_good(picked, shares.len(), &standing))
    }
}

fn in_turn(next: &mut usize, len: usize) -> usize {
    let picked = *next % len;
    *next = picked + 1;
    picked
}

/// Everyone earns its share, the richest is picked and pays the sum: over a round each is picked by its share, and
/// no one twice in a row unless it must.
fn smooth(shares: &[u64], credit: &mut [i128]) -> usize {
    let mut sum = 0i128;
    let mut richest = 0;
    for (index, share) in shares.iter().enumerate() {
        sum += i128::from(*share);
        credit[index] += i128::from(*share);
        if credit[index] > credit[richest] {
            richest = index;
        }
    }
    credit[richest] -= sum;
    richest
}

/// A member by its share: `random` is scaled to the sum without the bias of a remainder.
fn by_chance(sums: &[u64], random: u64) -> usize {
    let sum = sums.last().copied().unwrap_or(0);
    // The high half of a 128-bit product: always below `sum`.
    let point = ((u128::from(random) * u128::from(sum)) >> 64) as u64;
    sums.partition_point(|upper| *upper <= point).min(sums.len().saturating_sub(1))
}

/// The one with fewer requests for its share, the coming one counted: `(index, load, share)`; `one` where they are alike.
///
/// Those at rest are alike, so that the shares decide by which of them was drawn first. Were the coming request counted
/// there, too, the larger share would win each time and the smaller one get nothing until there is much to do.
fn lighter(one: (usize, usize, u64), other: (usize, usize, u64)) -> usize {
    let weigh = |load: usize, share: u64| if load == 0 { 0 } else { (load as u128 + 1) * u128::from(share) };
    // load₁ / share₁ ≤ load₂ / share₂, without dividing.
    if weigh(one.1, other.2) <= weigh(other.1, one.2) { one.0 } else { other.0 }
}

fn next_good(start: usize, len: usize, standing: impl Fn(usize) -> Standing) -> usize {
    (0..len).map(|step| (start + step) % len).find(|index| standing(*index) == Standing::Good).unwrap_or(start)
}

#[cfg(test)]
mod tests;
