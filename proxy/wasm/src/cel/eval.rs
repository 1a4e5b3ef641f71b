//! What an expression is worth.

use super::{
    Attributes, NoValue, Value,
    convert::converted,
    function::{Function, MOST_REGEX, regex},
    parse::{Binary, Each, Node, Unary, Walk},
    time,
};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    cmp::Ordering,
};

/// Bytes that one evaluation may make or copy.
const MOST_BYTES: usize = 1024 * 1024;

/// Parts of expressions that one evaluation may look at: about a millisecond.
const MOST_STEPS: usize = 20_000;

type Found = Result<Value, NoValue>;

/// One evaluation.
pub(super) struct Evaluation<'a, A> {
    attributes: &'a A,
    left: Cell<usize>,
    steps: Cell<usize>,
    /// What walks call the values they are at, the innermost last.
    names: RefCell<Vec<(&'a str, Value)>>,
}

impl<'a, A: Attributes> Evaluation<'a, A> {
    pub(super) fn new(attributes: &'a A) -> Self {
        Self { attributes, left: Cell::new(MOST_BYTES), steps: Cell::new(MOST_STEPS), names: RefCell::default() }
    }

    /// Pays for a value.
    fn paid(&self, value: Value) -> Found {
        self.pay(value.weight())?;
        Ok(value)
    }

    fn pay(&self, bytes: usize) -> Result<(), NoValue> {
        self.left.set(self.left.get().checked_sub(bytes).ok_or(NoValue::TooLarge)?);
        Ok(())
    }

    pub(super) fn value(&self, node: &'a Node) -> Found {
        self.steps.set(self.steps.get().checked_sub(1).ok_or(NoValue::TooLarge)?);
        match node {
            Node::Literal(value) => self.paid(value.clone()),
            Node::Each(each) => self.each(each),
            Node::Name(_) | Node::Select(..) | Node::Index(..) => self.member(node),
            Node::Has(of, field) => self.has(of, field).map(Value::Bool),
            Node::Unary(Unary::Not, of) => Ok(Value::Bool(!self.truth(of)?)),
            Node::Unary(Unary::Minus, of) => match self.value(of)? {
                Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(NoValue::Range),
                Value::Double(number) => Ok(Value::Double(-number)),
                _ => Err(NoValue::NoOverload),
            },
            Node::Binary(operator, one, two) => {
                let found = match (operator, self.value(one)?, self.value(two)?) {
                    (Binary::In, key, Value::Group(name)) => Value::Bool(self.of_group(name, &key)?.is_some()),
                    (operator, one, two) => binary(*operator, one, two)?,
                };
                self.paid(found)
            }
            Node::And(nodes) => self.row(nodes, false),
            Node::Or(nodes) => self.row(nodes, true),
            Node::Choice(parts) => {
                let (condition, yes, no) = &**parts;
                if self.truth(condition)? { self.value(yes) } else { self.value(no) }
            }
            Node::Call(function, arguments) => self.call(function, arguments),
            Node::List(nodes) => {
                let values = nodes.iter().map(|node| self.value(node)).collect::<Result<_, _>>()?;
                self.paid(Value::List(values))
            }
            Node::Map(nodes) => {
                let mut entries: Vec<(Value, Value)> = Vec::with_capacity(nodes.len());
                for (key, value) in nodes {
                    let key = self.value(key)?;
                    if entries.iter().any(|(known, _)| known.same(&key)) {
                        return Err(NoValue::NoOverload);
                    }
                    entries.push((key, self.value(value)?));
                }
                self.paid(Value::Map(entries))
            }
        }
    }

    /// The value that a walk calls by this name.
    fn named(&self, name: &str) -> Option<Value> {
        self.names.borrow().iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    fn each(&self, each: &'a Each) -> Found {
        let values = match self.value(&each.over)? {
            Value::List(values) => values,
            Value::Map(entries) => entries.into_iter().map(|(key, _)| key).collect(),
            Value::Group(_) => Vec::new(),
            _ => return Err(NoValue::NoOverload),
        };
        let (mut kept, mut count, mut undecided) = (Vec::new(), 0_u32, None);
        for value in values {
            self.names.borrow_mut().push((&each.name, value));
            let asked = each.asked.as_ref().map_or(Ok(true), |asked| self.truth(asked));
            let made = match (&asked, &each.made) {
                (Ok(true), Some(made)) => Some(self.value(made)),
                _ => None,
            };
            let value = self.names.borrow_mut().pop().map(|(_, value)| value);
            match (each.walk, asked) {
                (Walk::All, Ok(false)) => return Ok(Value::Bool(false)),
                (Walk::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                // Another value may still decide.
                (Walk::All | Walk::Exists, Err(error)) => undecided = undecided.or(Some(error)),
                (_, Err(error)) => return Err(error),
                (Walk::ExistsOne, Ok(true)) => count += 1,
                (Walk::Filter, Ok(true)) => kept.extend(value),
                (Walk::Map, Ok(true)) => kept.extend(made.transpose()?),
                (_, Ok(_)) => {}
            }
        }
        match (each.walk, undecided) {
            (Walk::All | Walk::Exists, Some(error)) => Err(error),
            (Walk::All, None) => Ok(Value::Bool(true)),
            (Walk::Exists, None) => Ok(Value::Bool(false)),
            (Walk::ExistsOne, _) => Ok(Value::Bool(count == 1)),
            (Walk::Filter | Walk::Map, _) => self.paid(Value::List(kept)),
        }
    }

    fn truth(&self, node: &'a Node) -> Result<bool, NoValue> {
        match self.value(node)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(NoValue::NoOverload),
        }
    }

    /// `&&` and `||`: one that decides makes the others' errors no matter, wherever it stands.
    fn row(&self, nodes: &'a [Node], decides: bool) -> Found {
        let mut undecided = Ok(Value::Bool(!decides));
        for node in nodes {
            match self.truth(node) {
                Ok(truth) if truth == decides => return Ok(Value::Bool(decides)),
                Ok(_) => {}
                Err(error) => undecided = undecided.and(Err(error)),
            }
        }
        undecided
    }

    /// The path of an attribute: names behind one another, or text in brackets.
    fn path(&self, node: &'a Node, out: &mut Vec<Cow<'a, str>>) -> Result<bool, NoValue> {
        match node {
            Node::Name(name) if self.named(name).is_some() => return Ok(false),
            Node::Name(name) => out.push(name.into()),
            Node::Select(of, field) => {
                if !self.path(of, out)? {
                    return Ok(false);
                }
                out.push(field.into());
            }
            Node::Index(of, key) => {
                if !self.path(of, out)? {
                    return Ok(false);
                }
                match self.value(key)? {
                    Value::Text(key) => out.push(key.into()),
                    _ => return Ok(false),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn member(&self, node: &'a Node) -> Found {
        let mut path = Vec::new();
        if self.path(node, &mut path)? {
            let path: Vec<&str> = path.iter().map(|segment| &**segment).collect();
            return match (self.attributes.get(&path), &path[..]) {
                (Err(NoValue::Absent), [name]) => Value::kind_named(name).ok_or(NoValue::Absent),
                (found, _) => self.paid(found?),
            };
        }
        match node {
            Node::Select(of, field) => self.within(&self.value(of)?, &Value::Text(field.clone())),
            Node::Index(of, key) => self.within(&self.value(of)?, &self.value(key)?),
            Node::Name(name) => self.paid(self.named(name).ok_or(NoValue::Absent)?),
            _ => Err(NoValue::Absent),
        }
    }

    /// An element or a value by its key.
    fn within(&self, of: &Value, key: &Value) -> Found {
        match of {
            Value::Group(name) => self.of_group(name, key)?.ok_or(NoValue::Absent),
            of => within(of, key),
        }
    }

    /// What a group has under this key.
    fn of_group(&self, name: &str, key: &Value) -> Result<Option<Value>, NoValue> {
        let Value::Text(key) = key else { return Ok(None) };
        match self.attributes.get(&[name, key]) {
            Ok(value) => self.paid(value).map(Some),
            Err(NoValue::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a value has a member. Only maps and what holds attributes have any.
    fn has(&self, of: &'a Node, field: &str) -> Result<bool, NoValue> {
        let mut path = Vec::new();
        if !self.path(of, &mut path)? {
            return match self.value(of)? {
                Value::Map(entries) => Ok(is_in(&entries, &Value::Text(field.to_owned()))),
                Value::Group(name) => Ok(self.of_group(name, &Value::Text(field.to_owned()))?.is_some()),
                _ => Err(NoValue::NoOverload),
            };
        }
        let path: Vec<&str> = path.iter().map(|segment| &**segment).chain([field]).collect();
        let member = match self.attributes.get(&path) {
            Ok(member) => Some(self.paid(member)?),
            Err(NoValue::Opaque) => return Ok(true),
            Err(NoValue::Absent) => None,
            Err(error) => return Err(error),
        };
        // Paid as well: it is made of all its fields, for one word.
        let of = match self.attributes.get(&path[..path.len() - 1]) {
            Ok(of) => Ok(self.paid(of)?),
            Err(error) => Err(error),
        };
        match (of, member) {
            (Err(NoValue::Opaque) | Ok(Value::Map(_) | Value::Group(_)), member) => Ok(member.is_some()),
            (Err(error), _) => Err(error),
            // A message: it has what is not empty.
            (Ok(_), Some(Value::Map(entries))) => Ok(!entries.is_empty()),
            (Ok(_), Some(_)) => Ok(true),
            (Ok(_), None) => Err(NoValue::NoOverload),
        }
    }

    fn call(&self, function: &Function, arguments: &'a [Node]) -> Found {
        let mut values = arguments.iter().map(|node| self.value(node));
        let first = values.next().unwrap_or(Err(NoValue::NoOverload))?;
        let found = match (function, values.next().transpose()?) {
            (Function::Matches(compiled), Some(Value::Text(pattern))) => {
                let Value::Text(text) = first else { return Err(NoValue::NoOverload) };
                let matches = match compiled {
                    Some(compiled) => compiled.is_match(&text),
                    None => {
                        self.pay(MOST_REGEX)?;
                        regex(&pattern).ok_or(NoValue::NoOverload)?.is_match(&text)
                    }
                };
                Value::Bool(matches)
            }
            (Function::Part(part), Some(Value::Text(zone))) => {
                let Value::Time(time) = first else { return Err(NoValue::NoOverload) };
                time::part(*part, time, &zone).map(Value::Int).ok_or(NoValue::NoOverload)?
            }
            (_, Some(Value::Text(part))) => {
                let Value::Text(text) = first else { return Err(NoValue::NoOverload) };
                Value::Bool(match function {
                    Function::Contains => text.contains(&part),
                    Function::StartsWith => text.starts_with(&part),
                    Function::EndsWith => text.ends_with(&part),
                    _ => return Err(NoValue::NoOverload),
                })
            }
            (_, Some(_)) => return Err(NoValue::NoOverload),
            (Function::Size, None) => size(&first)?,
            (function, None) => converted(function, first)?,
        };
        self.paid(found)
    }
}

/// An element or a value by its key.
fn within(of: &Value, key: &Value) -> Found {
    match (of, key) {
        (Value::Map(entries), key) => {
            let found = entries.iter().find(|(known, _)| known.same(key));
            found.map(|(_, value)| value.clone()).ok_or(NoValue::Absent)
        }
        (Value::List(values), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            // A number with a fraction is none of the whole ones.
            let at = converted(&Function::Int, key.clone())?;
            let found = match at {
                Value::Int(at) if Value::Int(at).same(key) => usize::try_from(at).ok().and_then(|at| values.get(at)),
                _ => None,
            };
            found.cloned().ok_or(NoValue::Absent)
        }
        _ => Err(NoValue::NoOverload),
    }
}

fn is_in(entries: &[(Value, Value)], key: &Value) -> bool {
    entries.iter().any(|(known, _)| known.same(key))
}

fn size(of: &Value) -> Found {
    let count = match of {
        Value::Text(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(values) => values.len(),
        Value::Map(entries) => entries.len(),
        Value::Group(_) => 0,
        _ => return Err(NoValue::NoOverload),
    };
    i64::try_from(count).map(Value::Int).map_err(|_| NoValue::Range)
}

fn binary(operator: Binary, one: Value, two: Value) -> Found {
    let compared = |wanted: &[Ordering]| match one.compare(&two) {
        Some(order) => Ok(Value::Bool(wanted.contains(&order))),
        None => Err(NoValue::NoOverload),
    };
    match operator {
        Binary::Equal => Ok(Value::Bool(one.same(&two))),
        Binary::NotEqual => Ok(Value::Bool(!one.same(&two))),
        Binary::Less => compared(&[Ordering::Less]),
        Binary::LessOrEqual => compared(&[Ordering::Less, Ordering::Equal]),
        Binary::Greater => compared(&[Ordering::Greater]),
        Binary::GreaterOrEqual => compared(&[Ordering::Greater, Ordering::Equal]),
        Binary::In => match &two {
            Value::List(values) => Ok(Value::Bool(values.iter().any(|value| value.same(&one)))),
            Value::Map(entries) => Ok(Value::Bool(is_in(entries, &one))),
            _ => Err(NoValue::NoOverload),
        },
        Binary::Plus | Binary::Minus | Binary::Times | Binary::Over | Binary::Rest => computed(operator, one, two),
    }
}

fn computed(operator: Binary, one: Value, two: Value) -> Found {
    macro_rules! whole {
        ($one:expr, $two:expr) => {
            match operator {
                Binary::Plus => $one.checked_add($two),
                Binary::Minus => $one.checked_sub($two),
                Binary::Times => $one.checked_mul($two),
                Binary::Over => $one.checked_div($two),
                _ => $one.checked_rem($two),
            }
        };
    }
    let found = match (one, two) {
        (Value::Int(one), Value::Int(two)) => whole!(one, two).map(Value::Int),
        (Value::Uint(one), Value::Uint(two)) => whole!(one, two).map(Value::Uint),
        (Value::Double(one), Value::Double(two)) => Some(Value::Double(match operator {
            Binary::Plus => one + two,
            Binary::Minus => one - two,
            Binary::Times => one * two,
            Binary::Over => one / two,
            _ => return Err(NoValue::NoOverload),
        })),
        (Value::Duration(one), Value::Duration(two)) => match operator {
            Binary::Plus => Some(Value::Duration(one.saturating_add(two))),
            Binary::Minus => Some(Value::Duration(one.saturating_sub(two))),
            _ => return Err(NoValue::NoOverload),
        },
        (Value::Time(one), Value::Duration(two)) => match operator {
            Binary::Plus => Some(Value::Time(one.saturating_add(two))),
            Binary::Minus => Some(Value::Time(one.saturating_sub(two))),
            _ => return Err(NoValue::NoOverload),
        },
        (Value::Duration(one), Value::Time(two)) if operator == Binary::Plus => {
            Some(Value::Time(one.saturating_add(two)))
        }
        (Value::Time(one), Value::Time(two)) if operator == Binary::Minus => {
            Some(Value::Duration(one.saturating_sub(two)))
        }
        (Value::Text(one), Value::Text(two)) if operator == Binary::Plus => Some(Value::Text(one + &two)),
        (Value::Bytes(one), Value::Bytes(two)) if operator == Binary::Plus => Some(Value::Bytes([one, two].concat())),
        (Value::List(one), Value::List(two)) if operator == Binary::Plus => Some(Value::List([one, two].concat())),
        _ => return Err(NoValue::NoOverload),
    };
    found.ok_or(NoValue::Range)
}
