//! From YAML events to a [`Tree`], and the refusals that concern YAML itself.

use super::{Kind, MAX_BYTES, MAX_DEPTH, MAX_NODES, Node, Place, Style, Tree};
use crate::diagnostic::quoted;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// A fault of the text itself: where, in which node if there is one, and what.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
}

impl<'t> Tree<'t> {
    /// Reads one document. Faults that leave a usable tree (a duplicate key) come beside it; others in its place.
    pub(crate) fn parse(text: &'t str) -> Result<(Self, Vec<Fault>), Fault> {
        if text.len() > MAX_BYTES {
            return Err(Fault {
                line: 1,
                column: 1,
                place: None,
                message: format!("the document has {} bytes; at most {MAX_BYTES} (16 MiB) are read", text.len()),
            });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut builder = Builder::default();
        // A node takes eight bytes of text or more in what people write: room at once, since growing holds it twice.
        builder.tree.nodes.reserve_exact((text.len() / 8).min(MAX_NODES));
        builder.run(text)
    }
}

#[derive(Default)]
struct Builder<'t> {
    tree: Tree<'t>,
    open: Vec<Open>,
    anchors: HashMap<usize, Place>,
    faults: Vec<Fault>,
}

/// A collection whose end has not come.
struct Open {
    place: Place,
    last: Option<Place>,
    children: u32,
    /// In a mapping, the key that waits for its value.
    key: Option<Place>,
    anchor: usize,
}

impl<'t> Builder<'t> {
    fn run(mut self, text: &'t str) -> Result<(Tree<'t>, Vec<Fault>), Fault> {
        let mut documents = 0;
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let mark = error.marker();
                let (line, column) = (number(mark.line().max(1)), number(mark.col() + 1));
                // Of a tab within text that may go on in the next line the reader tells where that text begins.
                let (line, column) = match error.info().contains("found a tab") {
                    true => tab(text, line, column).unwrap_or((line, column)),
                    false => (line, column),
                };
                fault(line, column, syntax(error.info()))
            })?;
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(at(span, "a second document begins here; a configuration is exactly one".into()));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    refuse_tag(tag.is_some(), span)?;
                    let style = match style {
                        ScalarStyle::Plain => Style::Plain,
                        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                    };
                    let place = self.add(Kind::Scalar { text, style }, span)?;
                    self.anchor(anchor, place);
                }
                Event::SequenceStart(anchor, tag) => {
                    refuse_tag(tag.is_some(), span)?;
                    let place = self.add(Kind::Sequence { first: None }, span)?;
                    self.open(place, anchor, span)?;
                }
                Event::MappingStart(anchor, tag) => {
                    refuse_tag(tag.is_some(), span)?;
                    let place = self.add(Kind::Mapping { first: None }, span)?;
                    self.open(place, anchor, span)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(),
                Event::Alias(anchor) => {
                    let target = self.anchors.get(&anchor).copied().ok_or_else(|| {
                        at(span, "this alias stands inside of what it names; name something that is complete".into())
                    })?;
                    self.add(Kind::Alias(target), span)?;
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        if self.tree.nodes.is_empty() {
            return Err(fault(1, 1, "the document is empty; it needs at least `listeners`".into()));
        }
        Ok((self.tree, self.faults))
    }

    fn add(&mut self, kind: Kind<'t>, span: Span) -> Result<Place, Fault> {
        if self.tree.nodes.len() >= MAX_NODES {
            return Err(at(span, format!("the document has more than {MAX_NODES} values")));
        }
        let place = Place(number(self.tree.nodes.len()));
        let mut node = Node {
            kind,
            line: number(span.start.line()),
            column: number(span.start.col() + 1),
            parent: 0,
            key: place.0,
            index: 0,
            next: None,
        };
        let mut completed_key = None;
        if let Some(open) = self.open.last_mut() {
            node.parent = open.place.0;
            node.index = open.children;
            open.children += 1;
            match open.last.replace(place) {
                Some(last) => self.tree.nodes[last.0 as usize].next = Some(place),
                None => match &mut self.tree.nodes[open.place.0 as usize].kind {
                    Kind::Sequence { first } | Kind::Mapping { first } => *first = Some(place),
                    Kind::Scalar { .. } | Kind::Alias(_) => {}
                },
            }
            if matches!(self.tree.nodes[open.place.0 as usize].kind, Kind::Mapping { .. }) {
                match open.key.take() {
                    Some(key) => node.key = key.0,
                    None => {
                        open.key = Some(place);
                        completed_key = Some(place);
                    }
                }
            }
        }
        self.tree.nodes.push(node);
        if let Some(key) = completed_key {
            self.check_key(key)?;
        }
        Ok(place)
    }

    fn check_key(&self, key: Place) -> Result<(), Fault> {
        let node = self.tree.node(key);
        let refused = match &node.kind {
            Kind::Scalar { text, style: Style::Plain } if text == "<<" => {
                "merge keys (<<) are not part of YAML 1.2; write the fields out, or use an alias for the whole value"
            }
            Kind::Scalar { .. } => return Ok(()),
            Kind::Alias(_) => "an alias cannot be a key; write the key out",
            Kind::Sequence { .. } | Kind::Mapping { .. } => "a key must be text, not a list or a mapping",
        };
        Err(Fault { line: node.line, column: node.column, place: Some(key), message: refused.to_owned() })
    }

    fn open(&mut self, place: Place, anchor: usize, span: Span) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(at(span, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(Open { place, last: None, children: 0, key: None, anchor });
        Ok(())
    }

    fn close(&mut self) {
        let Some(closed) = self.open.pop() else {
            return;
        };
        self.anchor(closed.anchor, closed.place);
        if let Kind::Mapping { first } = self.tree.node(closed.place).kind {
            self.find_duplicates(first);
        }
    }

    fn anchor(&mut self, anchor: usize, place: Place) {
        if anchor != 0 {
            self.anchors.insert(anchor, place);
        }
    }

    /// Names every key that stands twice and takes the later one out, so that the rest is still read.
    fn find_duplicates(&mut self, first: Option<Place>) {
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut unlink = Vec::new();
        let (mut next, mut before) = (first, None);
        while let Some(key) = next {
            let node = self.tree.node(key);
            let value = node.next;
            next = value.and_then(|value| self.tree.node(value).next);
            if let Kind::Scalar { text, .. } = &node.kind {
                if let Some(line) = seen.get(&**text) {
                    self.faults.push(Fault {
                        line: node.line,
                        column: node.column,
                        place: Some(key),
                        message: format!("{} is written twice; it stands in line {line} already", quoted(text)),
                    });
                    unlink.push((before, next));
                    continue;
                }
                seen.insert(text, node.line);
            }
            before = value;
        }
        for (before, next) in unlink {
            // The first key of a mapping is never a duplicate, so there is always a value before it.
            if let Some(before) = before {
                self.tree.nodes[before.0 as usize].next = next;
            }
        }
    }
}

fn refuse_tag(tagged: bool, span: Span) -> Result<(), Fault> {
    if tagged {
        return Err(at(
            span,
            "tags such as !!str are not used here; put text that looks like a number in quotes".into(),
        ));
    }
    Ok(())
}

/// The first tab from here on that stands where a line is indented.
fn tab(text: &str, line: u32, column: u32) -> Option<(u32, u32)> {
    let indented = |line: &str| line.find(|c| c != ' ').filter(|at| line[*at..].starts_with('\t'));
    let from = usize::try_from(line).ok()?.checked_sub(1)?;
    let rest = (line..).zip(text.lines().skip(from));
    let found = rest.filter_map(|(line, text)| Some((line, number(indented(text)?) + 1)));
    found.into_iter().find(|at| *at >= (line, column))
}

/// The YAML reader's own words, with the remedy where the fault is a common one.
fn syntax(info: &str) -> String {
    let remedy = if info.contains("tab") {
        "; indent with spaces"
    } else if info.contains("unknown anchor") {
        "; an alias (*name) needs an anchor (&name) before it; put text that begins with * in quotes"
    } else if info.contains("simple key") || info.contains("mapping values are not allowed") {
        "; a field is written `name: value`, and text that holds `: ` stands in quotes"
    } else if info.contains("block end") || info.contains("did not find expected") || info.contains("indent") {
        "; look at the indentation of this line and the one before"
    } else {
        ""
    };
    format!("not valid YAML: {info}{remedy}")
}

fn at(span: Span, message: String) -> Fault {
    fault(number(span.start.line()), number(span.start.col() + 1), message)
}

fn fault(line: u32, column: u32, message: String) -> Fault {
    Fault { line, column, place: None, message }
}

/// Lines, columns and nodes of at most 16 MiB of text fit into 32 bits.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
