//! From a value before and after to a JSON Patch (RFC 6902) that leads from one to the other.
//!
//! Lists are compared by what their elements are called, since a container that comes first must not rewrite the ones
//! behind it. Every patch of ours adds, replaces or removes; its operations are carried out in order.

use super::value::{Map, Value, map};

/// One operation of a patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What is done.
    pub action: Action,
    /// Where: a JSON Pointer (RFC 6901).
    pub path: String,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Adds a field, or an element before the one of that index.
    Add(Value),
    /// Puts this in place of what is there.
    Replace(Value),
    /// Takes it away.
    Remove,
}

impl Operation {
    /// As the object that RFC 6902 §4 describes.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let path = Value::from(self.path.as_str());
        match &self.action {
            Action::Add(value) => map([("op", "add".into()), ("path", path), ("value", value.clone())]),
            Action::Replace(value) => map([("op", "replace".into()), ("path", path), ("value", value.clone())]),
            Action::Remove => map([("op", "remove".into()), ("path", path)]),
        }
    }
}

/// The operations that make `after` of `before`.
#[must_use]
pub fn diff(before: &Value, after: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    compare(before, after, "", &mut operations);
    operations
}

fn compare(before: &Value, after: &Value, path: &str, operations: &mut Vec<Operation>) {
    match (before, after) {
        (Value::Map(before), Value::Map(after)) => maps(before, after, path, operations),
        (Value::List(before), Value::List(after)) => lists(before, after, path, operations),
        _ if before == after => {}
        _ => operations.push(Operation { action: Action::Replace(after.clone()), path: path.to_owned() }),
    }
}

fn maps(before: &Map, after: &Map, path: &str, operations: &mut Vec<Operation>) {
    for (key, value) in &before.0 {
        let path = format!("{path}/{}", escaped(key));
        match after.get(key) {
            Some(after) => compare(value, after, &path, operations),
            None => operations.push(Operation { action: Action::Remove, path }),
        }
    }
    for (key, value) in &after.0 {
        if before.get(key).is_none() {
            let path = format!("{path}/{}", escaped(key));
            operations.push(Operation { action: Action::Add(value.clone()), path });
        }
    }
}

fn lists(before: &[Value], after: &[Value], path: &str, operations: &mut Vec<Operation>) {
    let aligned = align(before, after);
    // From the end, so that an index means the same element before and after what is done behind it.
    for (index, counterpart) in aligned.of_before.iter().enumerate().rev() {
        if counterpart.is_none() {
            operations.push(Operation { action: Action::Remove, path: format!("{path}/{index}") });
        }
    }
    // From the start: everything before an index is already as it will be.
    for (index, (element, counterpart)) in after.iter().zip(&aligned.of_after).enumerate() {
        let path = format!("{path}/{index}");
        match counterpart {
            Some(old) => compare(&before[*old], element, &path, operations),
            None => operations.push(Operation { action: Action::Add(element.clone()), path }),
        }
    }
}

/// Which element became which.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alignment {
    /// For each old element, the new one it became.
    pub(super) of_before: Vec<Option<usize>>,
    /// For each new element, the old one it was.
    pub(super) of_after: Vec<Option<usize>>,
}

/// Finds the old elements among the new ones, in their order: by `name`, or by being equal.
pub(super) fn align(before: &[Value], after: &[Value]) -> Alignment {
    let mut alignment = Alignment { of_before: vec![None; before.len()], of_after: vec![None; after.len()] };
    let mut next = 0;
    for (old, element) in before.iter().enumerate() {
        let found = after[next..].iter().position(|new| same(element, new)).map(|offset| next + offset);
        if let Some(new) = found {
            alignment.of_before[old] = Some(new);
            alignment.of_after[new] = Some(old);
            next = new + 1;
        }
    }
    alignment
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.str("name"), b.str("name")) {
        (Some(a), Some(b)) => a == b,
        // Objects of a list are told apart by kind as well: a Service and a Deployment may share a name elsewhere. Those of a
        // PodList need not say theirs.
        _ => {
            let told = a.get("kind").is_some() || called(a).is_some();
            a == b || (told && a.get("kind") == b.get("kind") && called(a) == called(b))
        }
    }
}

fn called(object: &Value) -> Option<(&str, Option<&str>)> {
    let metadata = object.get("metadata")?;
    let name = metadata.str("name").or_else(|| metadata.str("generateName"))?;
    Some((name, metadata.str("namespace")))
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Carries a patch out, as an API server does.
///
/// # Errors
/// The path that is not there.
pub fn apply(value: &mut Value, operations: &[Operation]) -> Result<(), String> {
    for Operation { action, path } in operations {
        let wrong = || path.clone();
        let Some((parent, last)) = path.rsplit_once('/') else {
            match action {
                Action::Add(new) | Action::Replace(new) => *value = new.clone(),
                Action::Remove => return Err(wrong()),
            }
            continue;
        };
        let plain = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let parent = parent.split('/').skip(1).try_fold(&mut *value, |at, step| match at {
            Value::Map(map) => map.get_mut(&plain(step)),
            Value::List(list) => list.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        });
        let last = plain(last);
        match (parent.ok_or_else(wrong)?, action) {
            (Value::Map(map), Action::Add(new)) => map.set(&last, new.clone()),
            (Value::Map(map), Action::Replace(new)) => *map.get_mut(&last).ok_or_else(wrong)? = new.clone(),
            (Value::Map(map), Action::Remove) => drop(map.remove(&last).ok_or_else(wrong)?),
            (Value::List(list), action) => {
                let index = if last == "-" { list.len() } else { last.parse().map_err(|_| wrong())? };
                match action {
                    Action::Add(new) if index <= list.len() => list.insert(index, new.clone()),
                    Action::Replace(new) if index < list.len() => list[index] = new.clone(),
                    Action::Remove if index < list.len() => drop(list.remove(index)),
                    Action::Add(_) | Action::Replace(_) | Action::Remove => return Err(wrong()),
                }
            }
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_container_that_comes_first_leaves_the_others_alone() {
        let before = read(r#"{"containers":[{"name":"a","x":1},{"name":"b"}],"gone":1}"#);
        let after = read(r#"{"containers":[{"name":"p"},{"name":"a","x":2},{"name":"b"}],"n/w~":[]}"#);
        let patch: Vec<String> = diff(&before, &after).iter().map(|operation| operation.to_value().to_json()).collect();
        assert_eq!(
            patch,
            [
                r#"{"op":"add","path":"/containers/0","value":{"name":"p"}}"#,
                r#"{"op":"replace","path":"/containers/1/x","value":2}"#,
                r#"{"op":"remove","path":"/gone"}"#,
                r#"{"op":"add","path":"/n~1w~0","value":[]}"#,
            ]
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0_i64..4).prop_map(Value::from),
            "[a-c/~]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c/~]|name", inner, 0..5)
                    .prop_map(|map| Value::Map(Map(map.into_iter().collect()))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_leads_where_it_should(before in any_value(), after in any_value()) {
            let mut value = before.clone();
            apply(&mut value, &diff(&before, &after)).unwrap();
            prop_assert_eq!(value, after);
        }
    }
}
