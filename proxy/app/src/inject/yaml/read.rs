//! From the text of manifests to nodes that know where they stand.

use super::resolve;
use crate::inject::value::{Map, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::{borrow::Cow, collections::HashMap};

/// Deepest nesting. A custom resource's schema is the deepest thing people write: some 30.
const MAX_DEPTH: usize = 128;
/// Nodes that aliases may stand for, in one text ("billion laughs").
const MAX_ALIASED: usize = 1_000_000;

/// Tabs behind colons, in one text: each costs another look at it.
const MAX_TABS: usize = 500;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What, and the remedy where there is a usual one.
    pub message: String,
}

/// A piece of a document.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it means.
    pub value: Value,
    pub(super) kind: Kind,
    /// Bytes of the text, the end excluded. The end of a block collection or block scalar is not its content's; a block
    /// scalar begins with its first line's content, a list that is not indented behind its first dash.
    pub(super) start: usize,
    pub(super) end: usize,
    /// It has an anchor or a tag: what is put in its place would lose it.
    pub(super) marked: bool,
}

/// How a node is written.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar,
    Block,
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// `[…]` or `{…}`, changed as a whole.
    Flow,
    Alias,
}

/// Reads the documents of a text; empty ones are left out.
///
/// # Errors
/// What is no YAML, or not the YAML of a manifest.
pub fn read(text: &str) -> Result<Vec<Node>, Fault> {
    let mut shown = Cow::Borrowed(text);
    for _ in 0..MAX_TABS {
        match attempt(text, &shown) {
            Ok(documents) => return Ok(documents),
            Err(Failure::Fault(fault)) => return Err(fault),
            Err(Failure::Tab(fault, at)) => {
                let Some(spaced) = spaced(&shown, at) else { return Err(fault) };
                shown = Cow::Owned(spaced);
            }
        }
    }
    let message = format!("more than {MAX_TABS} values stand behind a tab; put spaces there");
    Err(Fault { line: 1, column: 1, message })
}

/// Why a text was not read.
enum Failure {
    Fault(Fault),
    /// The parser takes no tab between a colon and a letter, as kubectl's does: here is the letter.
    Tab(Fault, usize),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The text with spaces for the tabs before that character, so that all else stays where it is.
fn spaced(text: &str, character: usize) -> Option<String> {
    let at = text.char_indices().nth(character).map_or(text.len(), |(at, _)| at);
    let blanks = at - text[..at].trim_end_matches([' ', '\t']).len();
    let from = at - blanks;
    let tabs = text[from..at].contains('\t');
    tabs.then(|| format!("{}{}{}", &text[..from], " ".repeat(blanks), &text[at..]))
}

/// Reads `shown`, which is `text` but for blanks.
fn attempt(text: &str, shown: &str) -> Result<Vec<Node>, Failure> {
    let mut reader = Reader {
        text,
        offsets: (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect()),
        open: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        documents: Vec::new(),
    };
    let mut parser = Parser::new_from_str(shown);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let fault = Fault { line: mark.line().max(1), column: mark.col() + 1, message: syntax(text, error.info()) };
            if error.info().starts_with("':' must be followed") {
                Failure::Tab(fault, mark.index())
            } else {
                Failure::Fault(fault)
            }
        })?;
        reader.event(event, span)?;
    }
    Ok(reader.documents)
}

struct Reader<'t> {
    text: &'t str,
    /// Byte of each character, where they differ.
    offsets: Option<Vec<usize>>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, usize)>,
    aliased: usize,
    documents: Vec<Node>,
}

/// A collection whose end has not come.
struct Open {
    node: Node,
    flow: bool,
    anchor: usize,
    /// In a mapping, the key that waits for its value.
    key: Option<Node>,
    /// Nodes in it.
    size: usize,
}

impl Reader<'_> {
    fn byte(&self, character: usize) -> usize {
        match &self.offsets {
            None => character.min(self.text.len()),
            Some(offsets) => offsets.get(character).copied().unwrap_or(self.text.len()),
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let (kind, value) = match style {
                    ScalarStyle::Plain if tag.is_none() => (Kind::Scalar, resolve::plain(&text)),
                    ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                        (Kind::Scalar, Value::String(text.into_owned()))
                    }
                    ScalarStyle::Literal | ScalarStyle::Folded => (Kind::Block, Value::String(text.into_owned())),
                };
                let marked = anchor != 0 || tag.is_some();
                self.close(Node { value, kind, start, end, marked }, anchor, 1, span)
            }
            Event::Alias(anchor) => {
                let (value, size) = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    fault(span, "an alias (*name) inside of what it names: it would never end".into())
                })?;
                self.aliased += size;
                if self.aliased > MAX_ALIASED {
                    return Err(fault(
                        span,
                        "aliases make this text too large; write less of it through aliases".into(),
                    ));
                }
                self.close(Node { value, kind: Kind::Alias, start, end, marked: true }, 0, size, span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.push(Kind::List(Vec::new()), Value::List(Vec::new()), anchor, tag.is_some(), start, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.push(Kind::Map(Vec::new()), Value::Map(Map::default()), anchor, tag.is_some(), start, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                // The parser sees to it that each end has a start.
                let Some(mut open) = self.open.pop() else { return Ok(()) };
                open.node.end = end;
                if open.flow {
                    // The event's own end may lie behind a comment.
                    if matches!(self.text.as_bytes().get(start), Some(b']' | b'}')) {
                        open.node.end = start + 1;
                    }
                    open.node.kind = Kind::Flow;
                }
                merge(&mut open.node.value);
                self.close(open.node, open.anchor, open.size, span)
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn push(
        &mut self,
        kind: Kind,
        value: Value,
        anchor: usize,
        tagged: bool,
        start: usize,
        span: Span,
    ) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(fault(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let flow = matches!(self.text.as_bytes().get(start), Some(b'[' | b'{'));
        let node = Node { value, kind, start, end: start, marked: anchor != 0 || tagged };
        self.open.push(Open { node, flow, anchor, key: None, size: 1 });
        Ok(())
    }

    /// A node is whole: it becomes a part of what is open.
    fn close(&mut self, node: Node, anchor: usize, size: usize, span: Span) -> Result<(), Fault> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.value.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            // `---` and nothing behind it.
            if node.value != Value::Null {
                self.documents.push(node);
            }
            return Ok(());
        };
        open.size += size;
        match (&mut open.node.value, &mut open.node.kind, open.key.take()) {
            (Value::List(values), Kind::List(nodes), _) => {
                values.push(node.value.clone());
                nodes.push(node);
            }
            (Value::Map(_), Kind::Map(_), None) => open.key = Some(node),
            (Value::Map(values), Kind::Map(nodes), Some(key)) => {
                let name = match &key.value {
                    Value::String(text) => text.clone(),
                    Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                        self.text[key.start..key.end].trim().to_owned()
                    }
                    Value::List(_) | Value::Map(_) => {
                        let words = "a field's name cannot be a list or a mapping";
                        return Err(fault(span, format!("{words}{}", template(self.text))));
                    }
                };
                if name != "<<" && values.get(&name).is_some() {
                    return Err(fault(span, format!("the field {name:?} is written twice in this mapping")));
                }
                values.0.push((name, node.value.clone()));
                nodes.push((key, node));
            }
            // Kinds and values are made in pairs.
            _ => {}
        }
        Ok(())
    }
}

/// `<<: *base` (YAML 1.1 merge): the fields of the base that are not written here.
fn merge(value: &mut Value) {
    let Value::Map(map) = value else { return };
    while let Some(base) = map.remove("<<") {
        let bases = if let Value::List(list) = base { list } else { vec![base] };
        for base in bases {
            let Value::Map(base) = base else { continue };
            for (key, value) in base.0 {
                if map.get(&key).is_none() {
                    map.0.push((key, value));
                }
            }
        }
    }
}

impl Node {
    /// Whether the node is a mapping some of whose fields come from another one.
    pub(super) fn merges(&self) -> bool {
        matches!(&self.kind, Kind::Map(fields) if fields.iter().any(|(key, _)| key.value == Value::from("<<")))
    }

    /// Line and column of its beginning, from 1.
    #[must_use]
    pub fn place(&self, text: &str) -> (usize, usize) {
        let before = &text[..self.start];
        let line = before.matches('\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or("").chars().count() + 1)
    }

    /// The place of what a path of fields and indices leads to; of the deepest piece that is written, where the rest
    /// comes from an alias or is not there.
    #[must_use]
    pub fn place_of(&self, path: &[String], text: &str) -> (usize, usize) {
        let mut at = self;
        let mut place = self.place(text);
        for step in path {
            let (key, next) = match &at.kind {
                Kind::Map(fields) => {
                    let found = fields.iter().find(|(key, _)| match &key.value {
                        Value::String(name) => name == step,
                        _ => text[key.start..key.end].trim() == step,
                    });
                    match found {
                        Some((key, value)) => (key, value),
                        None => break,
                    }
                }
                Kind::List(elements) => match step.parse().ok().and_then(|index: usize| elements.get(index)) {
                    Some(element) => (element, element),
                    None => break,
                },
                Kind::Scalar | Kind::Block | Kind::Flow | Kind::Alias => break,
            };
            place = key.place(text);
            at = next;
        }
        place
    }

    /// The start of the line it begins on, where nothing but blanks stands before it; else its start.
    pub(super) fn line_start(&self, text: &str) -> usize {
        let line = text[..self.start].rfind('\n').map_or(0, |at| at + 1);
        if text[line..self.start].trim_matches([' ', '\u{feff}']).is_empty() { line } else { self.start }
    }

    /// The end of its last line's content, a comment behind it excluded.
    pub(super) fn content_end(&self, text: &str) -> usize {
        match &self.kind {
            Kind::Scalar | Kind::Flow | Kind::Alias => {
                // A scalar that is nothing has a place, but it may be the next token's.
                if self.start >= self.end {
                    self.start
                } else {
                    self.start + text[self.start..self.end].trim_end().len()
                }
            }
            Kind::Block => self.start + block_scalar_length(text, self.start),
            Kind::List(elements) => elements.last().map_or(self.end, |last| last.content_end(text)),
            Kind::Map(fields) => fields.last().map_or(self.end, |(key, value)| value_end(text, key, value)),
        }
    }
}

/// The end of a field's content. Where nothing is written it ends with its colon.
pub(super) fn value_end(text: &str, key: &Node, value: &Node) -> usize {
    let nothing = matches!(value.kind, Kind::Scalar) && value.start >= value.end;
    if nothing { text[key.end..].find(':').map_or(key.end, |at| key.end + at + 1) } else { value.content_end(text) }
}

/// The end of the line that holds this byte, its line end excluded.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |offset| at + offset);
    if text[at..end].ends_with('\r') { end - 1 } else { end }
}

/// The length of a block scalar from its first line's content on: lines that are blank, or indented as that one or
/// deeper; blank ones at the end do not count.
fn block_scalar_length(text: &str, start: usize) -> usize {
    let column = start - text[..start].rfind('\n').map_or(0, |at| at + 1);
    let text = &text[start..];
    let mut length = text.find('\n').unwrap_or(text.len());
    let mut seen = length;
    while seen < text.len() {
        let line = text[seen + 1..].split('\n').next().unwrap_or("");
        let blank = line.trim().is_empty();
        if !blank && line.bytes().take_while(|byte| *byte == b' ').count() < column {
            break;
        }
        seen += 1 + line.len();
        if !blank {
            length = seen;
        }
    }
    // Where lines end with both, the first belongs to the line end.
    text[..length].strip_suffix('\r').map_or(length, str::len)
}

fn fault(span: Span, message: String) -> Fault {
    Fault { line: span.start.line().max(1), column: span.start.col() + 1, message }
}

fn syntax(text: &str, info: &str) -> String {
    let tabs = if info.contains("tab") { "; indent with spaces" } else { "" };
    format!("not valid YAML: {info}{tabs}{}", template(text))
}

/// The remedy for the commonest cause of all.
fn template(text: &str) -> &'static str {
    if text.contains("{{") {
        "; this looks like a template: render it first, as in `helm template CHART | pillion inject`"
    } else {
        ""
    }
}
