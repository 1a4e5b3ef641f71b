//! The functions that expressions may call.

use regex::{Regex, RegexBuilder};
use std::ops::RangeInclusive;

/// Bytes of a compiled regular expression: matching takes as long as the text times this, at most.
pub(super) const MOST_REGEX: usize = 64 * 1024;

/// A function; as a method its receiver is the first argument.
#[derive(Debug)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    /// With a pattern that is a literal: it is compiled once.
    Matches(Option<Box<Regex>>),
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Bool,
    Duration,
    Timestamp,
    Type,
    Dyn,
    /// `getHours` and its like.
    Part(Part),
}

/// A part of a time or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    FullYear,
    /// From 0.
    Month,
    /// From 1.
    Date,
    /// From 0.
    DayOfMonth,
    /// From 0, a Sunday.
    DayOfWeek,
    /// From 0.
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// `f(x)`.
    Plain,
    /// `x.f()`.
    Method,
    /// Either way.
    Both,
}

impl Function {
    /// By name, how it is called, and how many arguments it takes.
    pub(super) fn named(name: &str) -> Option<(Self, Called, RangeInclusive<usize>)> {
        let plain = |function| Some((function, Called::Plain, 1..=1));
        let asked = |function| Some((function, Called::Both, 2..=2));
        let part = |part| Some((Self::Part(part), Called::Method, 1..=2));
        match name {
            "size" => Some((Self::Size, Called::Both, 1..=1)),
            "contains" => asked(Self::Contains),
            "startsWith" => asked(Self::StartsWith),
            "endsWith" => asked(Self::EndsWith),
            "matches" => asked(Self::Matches(None)),
            "int" => plain(Self::Int),
            "uint" => plain(Self::Uint),
            "double" => plain(Self::Double),
            "string" => plain(Self::Text),
            "bytes" => plain(Self::Bytes),
            "bool" => plain(Self::Bool),
            "duration" => plain(Self::Duration),
            "timestamp" => plain(Self::Timestamp),
            "type" => plain(Self::Type),
            "dyn" => plain(Self::Dyn),
            "getFullYear" => part(Part::FullYear),
            "getMonth" => part(Part::Month),
            "getDate" => part(Part::Date),
            "getDayOfMonth" => part(Part::DayOfMonth),
            "getDayOfWeek" => part(Part::DayOfWeek),
            "getDayOfYear" => part(Part::DayOfYear),
            "getHours" => part(Part::Hours),
            "getMinutes" => part(Part::Minutes),
            "getSeconds" => part(Part::Seconds),
            "getMilliseconds" => part(Part::Milliseconds),
            _ => None,
        }
    }
}

/// Compiles a pattern within its bound.
pub(super) fn regex(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(MOST_REGEX).dfa_size_limit(MOST_REGEX).build().ok()
}
