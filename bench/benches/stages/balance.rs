//! balance: which endpoint takes this request?

use divan::{Bencher, black_box};
use pillion_config::model::Balance;
use pillion_core::upstream::{Picker, Random, Standing};

/// Requests in flight at ten endpoints of equal weight → an index.
#[divan::bench(args = [Balance::LeastRequest, Balance::RoundRobin, Balance::Random])]
fn one_of_ten_endpoints(bencher: Bencher<'_, '_>, balance: Balance) {
    let shares = [1_u64; 10];
    let mut picker = Picker::new(balance, &shares);
    let random = Random::seeded(1);
    let loads = black_box([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]);
    bencher.bench_local(|| picker.pick(&shares, || random.next(), |index| loads[index], |_| Standing::Good));
}
