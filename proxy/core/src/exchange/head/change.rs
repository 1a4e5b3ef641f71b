//! Changes to headers that the configuration asks for.
//!
//! Text without variables is made a value once, when the configuration is compiled. What variables bring in may
//! come from a client; control bytes are removed from it before it becomes a value.

use super::{
    HeadRefusal,
    target::{add, put},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use pillion_config::{
    model::HeaderChange,
    template::{Part, Template, Variable},
};

/// A list of changes, compiled; applied in order.
#[derive(Debug, Clone, Default)]
pub struct CompiledChanges {
    changes: Box<[Change]>,
    speaks_of_fields: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Set(HeaderName, Text),
    Append(HeaderName, Text),
    Remove(HeaderName),
}

/// What a change writes.
#[derive(Debug, Clone)]
enum Text {
    /// The same for every message.
    Fixed(HeaderValue),
    /// To be rendered for each.
    Rendered(Box<[Part]>),
}

impl CompiledChanges {
    /// Compiles changes, given in the order written.
    #[must_use]
    pub fn compile(changes: &[HeaderChange]) -> Self {
        let changes: Box<[Change]> = changes.iter().map(Change::compile).collect();
        Self { speaks_of_fields: changes.iter().any(Change::speaks_of_fields), changes }
    }

    /// Whether a variable stands for a field of the message that is changed: then its fields must stay to be read as they
    /// were before the first change.
    #[must_use]
    pub fn speaks_of_fields(&self) -> bool {
        self.speaks_of_fields
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Applies the changes. `render` appends what a variable stands for; nothing when it stands for nothing.
    ///
    /// A value that renders to nothing is not written: `Append` does nothing, `Set` leaves no value of that name, so
    /// that what a client sent never stands where the proxy's word was to be.
    pub fn apply(
        &self,
        headers: &mut HeaderMap,
        mut render: impl FnMut(&Variable, &mut Vec<u8>),
    ) -> Result<(), HeadRefusal> {
        for change in &self.changes {
            match change {
                Change::Set(name, text) => match text.value(&mut render) {
                    Some(value) => put(headers, name.clone(), value)?,
                    None => {
                        headers.remove(name);
                    }
                },
                Change::Append(name, text) => {
                    if let Some(value) = text.value(&mut render) {
                        add(headers, name.clone(), value)?;
                    }
                }
                Change::Remove(name) => {
                    headers.remove(name);
                }
            }
        }
        Ok(())
    }
}

impl Change {
    fn compile(change: &HeaderChange) -> Self {
        match change {
            HeaderChange::Set(name, template) => Self::Set(name.clone(), Text::compile(template)),
            HeaderChange::Append(name, template) => Self::Append(name.clone(), Text::compile(template)),
            HeaderChange::Remove(name) => Self::Remove(name.clone()),
        }
    }

    fn speaks_of_fields(&self) -> bool {
        use Variable::{GrpcStatus, RequestHeader, ResponseHeader, ResponseTrailer};
        let of_fields = |part: &Part| {
            matches!(part, Part::Variable(RequestHeader(..) | ResponseHeader(_) | ResponseTrailer(_) | GrpcStatus, _))
        };
        match self {
            Self::Set(_, Text::Rendered(parts)) | Self::Append(_, Text::Rendered(parts)) => parts.iter().any(of_fields),
            Self::Set(_, Text::Fixed(_)) | Self::Append(_, Text::Fixed(_)) | Self::Remove(_) => false,
        }
    }
}

impl Text {
    fn compile(template: &Template) -> Self {
        let mut fixed = Vec::new();
        for part in &template.0 {
            match part {
                Part::Literal(text) => fixed.extend_from_slice(text.as_bytes()),
                Part::Variable(..) => return Self::Rendered(template.0.clone().into()),
            }
        }
        Self::Fixed(sanitised(fixed).unwrap_or_else(|| HeaderValue::from_static("")))
    }

    /// The value; `None` when variables made it empty.
    fn value(&self, render: &mut impl FnMut(&Variable, &mut Vec<u8>)) -> Option<HeaderValue> {
        let parts = match self {
            Self::Fixed(value) => return Some(value.clone()),
            Self::Rendered(parts) => parts,
        };
        let mut text = Vec::new();
        for part in parts {
            match part {
                Part::Literal(literal) => text.extend_from_slice(literal.as_bytes()),
                Part::Variable(variable, most) => {
                    let start = text.len();
                    render(variable, &mut text);
                    if let Some(most) = most {
                        text.truncate(text.len().min(start.saturating_add(*most)));
                    }
                }
            }
        }
        sanitised(text).filter(|value| !value.is_empty())
    }
}

/// A value without control bytes and without white space at its ends (RFC 9110 §5.5).
fn sanitised(mut text: Vec<u8>) -> Option<HeaderValue> {
    text.retain(|byte| !byte.is_ascii_control() || *byte == b'\t');
    let trimmed = text.trim_ascii();
    if trimmed.len() == text.len() {
        return HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok();
    }
    HeaderValue::from_bytes(trimmed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::template::RequestField;
    use proptest::prelude::*;

    fn literal(text: &str) -> Template {
        Template(vec![Part::Literal(text.into())])
    }

    fn client_then(text: &str, most: Option<usize>) -> Template {
        Template(vec![Part::Variable(Variable::DownstreamRemoteAddress, most), Part::Literal(text.into())])
    }

    const A: HeaderName = HeaderName::from_static("a");
    const B: HeaderName = HeaderName::from_static("b");

    /// The fields of `a: 1`, `a: 2` after a change, where variables stand for `text`.
    fn after(change: HeaderChange, text: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        headers.append(A, HeaderValue::from_static("1"));
        headers.append(A, HeaderValue::from_static("2"));
        CompiledChanges::compile(&[change]).apply(&mut headers, |_, out| out.extend_from_slice(text)).expect("a head");
        let field =
            |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_owned());
        headers.iter().map(field).collect()
    }

    #[test]
    fn changes() {
        use HeaderChange::{Append, Remove, Set};
        for (change, rendered, expected) in [
            (Set(A, literal("x")), "", &[("a", "x")][..]),
            (Set(A, literal("")), "", &[("a", "")]),
            (Set(A, client_then("!", None)), "1.2.3.4", &[("a", "1.2.3.4!")]),
            (Set(A, client_then("!", Some(3))), "1.2.3.4", &[("a", "1.2!")]),
            (Set(A, client_then("!", Some(99))), "1.2.3.4", &[("a", "1.2.3.4!")]),
            (Set(A, client_then("", None)), "", &[]),
            (Set(A, client_then("", None)), " \r\n", &[]),
            (Set(B, literal("x")), "", &[("a", "1"), ("a", "2"), ("b", "x")]),
            (Append(A, literal("3")), "", &[("a", "1"), ("a", "2"), ("a", "3")]),
            (Append(B, client_then("", None)), "", &[("a", "1"), ("a", "2")]),
            (
                Append(B, client_then("", None)),
                "x\r\nSet-Cookie: y\0",
                &[("a", "1"), ("a", "2"), ("b", "xSet-Cookie: y")],
            ),
            (Remove(A), "", &[]),
            (Remove(B), "", &[("a", "1"), ("a", "2")]),
        ] {
            let shown = format!("{change:?} {rendered:?}");
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_owned())).collect();
            assert_eq!(after(change, rendered.as_bytes()), expected, "{shown}");
        }
    }

    #[test]
    fn in_order_and_each_variable_by_itself() {
        let field = |name| Variable::RequestHeader(RequestField::Header(name), None);
        let template =
            Template(vec![Part::Variable(field(A), None), Part::Literal("-".into()), Part::Variable(field(B), None)]);
        let changes = CompiledChanges::compile(&[
            HeaderChange::Set(A, template.clone()),
            HeaderChange::Append(A, literal("2")),
            HeaderChange::Set(B, template),
            HeaderChange::Remove(A),
        ]);
        let mut headers = HeaderMap::new();
        changes
            .apply(&mut headers, |variable, out| match variable {
                Variable::RequestHeader(RequestField::Header(name), None) => {
                    out.extend_from_slice(name.as_str().as_bytes());
                }
                other => panic!("not asked for: {other:?}"),
            })
            .expect("a head");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["b"], "a-b");
        assert!(CompiledChanges::default().is_empty() && !changes.is_empty());
        assert!(changes.speaks_of_fields());
    }

    #[test]
    fn a_head_is_kept_only_for_changes_that_read_it() {
        for change in [
            HeaderChange::Set(A, literal("x")),
            HeaderChange::Append(A, client_then("", None)),
            HeaderChange::Remove(A),
        ] {
            assert!(!CompiledChanges::compile(&[change]).speaks_of_fields());
        }
        let of_response = Template(vec![Part::Variable(Variable::ResponseHeader(B), None)]);
        assert!(CompiledChanges::compile(&[HeaderChange::Append(A, of_response)]).speaks_of_fields());
    }

    proptest! {
        #[test]
        fn whatever_is_rendered_is_one_harmless_value(text: Vec<u8>, most in prop::option::of(0usize..20)) {
            let change = HeaderChange::Set(B, client_then("", most));
            for (_, value) in after(change, &text) {
                prop_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
                prop_assert_eq!(value.trim_ascii(), &value[..]);
            }
        }
    }
}
