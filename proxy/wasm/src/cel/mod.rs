//! Expressions of the Common Expression Language, as guests give them to `expr_create`.
//!
//! ```text
//!  text ─► lex ─► parse ─► Expression ─► eval (attributes: the host's properties) ─► Value
//! ```
//!
//! Our own, since what guests give must be bounded: a host function cannot be interrupted. Text, depth, steps, values and
//! regular expressions have limits. The crate `cel` (0.15) has none on steps, and makes a program 1.7 MB larger.
//!
//! Source: <https://github.com/google/cel-spec>, `doc/langdef.md`. Not offered: messages (`Type{…}`), and
//! zones by name (`America/New_York`) in the parts of a time.

mod convert;
mod eval;
mod function;
mod lex;
mod parse;
mod time;
mod value;

pub use value::Value;

use parse::Node;

/// Bytes of an expression's text.
const MOST_TEXT: usize = 4096;

/// An expression that can be evaluated.
#[derive(Debug)]
pub struct Expression {
    root: Node,
    weight: usize,
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {at}: {what}")]
pub struct Malformed {
    /// Where, in bytes from 1.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

/// Why an expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoValue {
    /// No attribute, key or element there.
    #[error("no such attribute, key or element")]
    Absent,
    /// A function or operator does not take such values.
    #[error("no such overload")]
    NoOverload,
    /// A number is too large, or divided by zero.
    #[error("out of range")]
    Range,
    /// More steps or bytes than an evaluation may take.
    #[error("too large")]
    TooLarge,
    /// There is something, and no value of it: `request` alone.
    #[error("no value by itself")]
    Opaque,
}

/// Where attributes come from.
pub trait Attributes {
    /// The value at a path such as `request`, `headers`, `x-a`.
    ///
    /// # Errors
    ///
    /// [`NoValue::Absent`], [`NoValue::Opaque`].
    fn get(&self, path: &[&str]) -> Result<Value, NoValue>;
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MOST_TEXT {
            return Err(Malformed { at: MOST_TEXT, what: format!("longer than {MOST_TEXT} bytes") });
        }
        let (root, regexes) = parse::parse(lex::tokens(text)?)?;
        // A part of the tree for each byte at worst; a regular expression and what matching with it needs.
        Ok(Self { root, weight: text.len() * size_of::<Node>() + regexes * 4 * function::MOST_REGEX })
    }

    /// Bytes that it holds, at most.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Its value now.
    ///
    /// # Errors
    ///
    /// Why it has none.
    pub fn evaluate<A: Attributes>(&self, attributes: &A) -> Result<Value, NoValue> {
        eval::Evaluation::new(attributes).value(&self.root)
    }
}

#[cfg(test)]
mod tests;
