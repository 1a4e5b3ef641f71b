//! The parts of `compare` that need files or programs beside it: the peers' own checks of their configurations, what
//! they tell the origin, the look of a report.

mod peers;
mod report;
