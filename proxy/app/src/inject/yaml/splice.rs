//! The edits of a text that make a document mean something else, and leave alone what it says besides.
//!
//! Pure. Declines (`None`) where it cannot: aliases and merged mappings, whose text also means something elsewhere.

use super::{
    emit::{self, Lists},
    read::{Kind, Node, line_end, value_end},
};
use crate::inject::{
    diff::align,
    value::{Map, Value},
};

/// Put `text` in the place of these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// The edits that make the document at `node` mean `wanted`.
pub(super) fn splice(text: &str, node: &Node, wanted: &Value) -> Option<Vec<Edit>> {
    let end = line_end(text, node.content_end(text));
    let mut splicer = Splicer { text, end, lists: style(text, node), edits: Vec::new() };
    splicer.node(node, wanted)?;
    Some(splicer.edits)
}

/// Carries edits out on `text[start..end]`; `None` where two of them meet, or one lies outside.
pub(super) fn apply(text: &str, start: usize, end: usize, mut edits: Vec<Edit>) -> Option<String> {
    edits.sort_by_key(|edit| (edit.start, edit.end));
    let crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    let mut out = String::with_capacity(end - start + 4096);
    let mut at = start;
    let mut removed = false;
    for edit in edits {
        if edit.end > text.len() {
            return None;
        }
        if edit.start < at {
            // Lines that go at the document's end, behind others that go: the line end between them went with the former, and
            // the one before those goes instead.
            let between = text.get(edit.start..at)?;
            if !(removed && edit.text.is_empty() && matches!(between, "\n" | "\r\n") && edit.end >= at) {
                return None;
            }
            let kept = out.strip_suffix('\n')?;
            out.truncate(kept.strip_suffix('\r').unwrap_or(kept).len());
            at = edit.end;
            continue;
        }
        removed = edit.text.is_empty();
        out.push_str(&text[at..edit.start]);
        if crlf {
            out.push_str(&edit.text.replace('\n', "\r\n"))
        } else {
            out.push_str(&edit.text)
        }
        at = edit.end;
    }
    (at <= end).then(|| {
        out.push_str(&text[at..end]);
        out
    })
}

struct Splicer<'t> {
    text: &'t str,
    /// The end of the document's last line.
    end: usize,
    lists: Lists,
    edits: Vec<Edit>,
}

impl Splicer<'_> {
    fn node(&mut self, node: &Node, wanted: &Value) -> Option<()> {
        if node.value == *wanted {
            return Some(());
        }
        match (&node.kind, wanted) {
            (Kind::Map(fields), Value::Map(wanted)) if !wanted.0.is_empty() && !node.merges() => {
                self.map(fields, wanted)
            }
            (Kind::List(elements), Value::List(wanted)) if !wanted.is_empty() => self.list(node, elements, wanted),
            _ => None,
        }
    }

    fn map(&mut self, fields: &[(Node, Node)], wanted: &Map) -> Option<()> {
        let (first, _) = fields.first()?;
        let indent = self.column(first.start);
        let name = |key: &Node| self.text[key.start..key.end].trim().trim_matches(['"', '\'']).to_owned();
        let names: Vec<String> =
            fields.iter().map(|(key, _)| key.value.as_str().map_or_else(|| name(key), str::to_owned)).collect();
        let removed: Vec<usize> = (0..fields.len()).filter(|at| wanted.get(&names[*at]).is_none()).collect();
        let added: Vec<&(String, Value)> = wanted.0.iter().filter(|(key, _)| !names.contains(key)).collect();
        for (at, (key, value)) in fields.iter().enumerate() {
            if let Some(wanted) = wanted.get(&names[at]) {
                self.value(key, value, wanted, indent)?;
            }
        }
        if let ([old], [(key, value)]) = (&removed[..], &added[..]) {
            // One for another: it takes its place.
            let (old_key, old_value) = &fields[*old];
            let text = self.field(key, value, indent);
            return self.replace(old_key.start, value_end(self.text, old_key, old_value), text);
        }
        let last = fields.len() - 1;
        for at in removed {
            let (key, value) = &fields[at];
            let own_line = key.line_start(self.text) < key.start || self.starts_line(key.start);
            if own_line {
                self.remove_lines(key.line_start(self.text), value_end(self.text, key, value))?;
            } else {
                // Behind a dash: the next field takes its place.
                let (next, _) = fields.get(at + 1)?;
                self.replace(key.start, next.start, String::new())?;
            }
        }
        if !added.is_empty() {
            let (key, value) = &fields[last];
            let end = self.line_end(value_end(self.text, key, value));
            let mut text = String::new();
            for (key, value) in added {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent));
                text.push_str(&self.field(key, value, indent));
            }
            self.replace(end, end, text)?;
        }
        Some(())
    }

    /// A field whose value is to be another one.
    fn value(&mut self, key: &Node, value: &Node, wanted: &Value, indent: usize) -> Option<()> {
        if value.value == *wanted {
            return Some(());
        }
        let in_place = match (&value.kind, wanted) {
            (Kind::Map(_), Value::Map(map)) => !map.0.is_empty(),
            (Kind::List(_), Value::List(list)) => !list.is_empty(),
            _ => false,
        };
        if in_place {
            return self.node(value, wanted);
        }
        if value.marked {
            return None;
        }
        let name = key.value.as_str()?;
        let text = self.field(name, wanted, indent);
        self.replace(key.start, value_end(self.text, key, value), text)
    }

    fn list(&mut self, node: &Node, elements: &[Node], wanted: &[Value]) -> Option<()> {
        let column = self.column(self.dash(node, elements, 0)?);
        let old: Vec<Value> = elements.iter().map(|element| element.value.clone()).collect();
        let aligned = align(&old, wanted);
        for (at, element) in elements.iter().enumerate() {
            match aligned.of_before[at] {
                Some(new) if element.value == wanted[new] => {}
                Some(new) if matches!(element.kind, Kind::Map(_) | Kind::List(_)) => {
                    self.node(element, &wanted[new])?
                }
                Some(new) if !element.marked && !matches!(element.kind, Kind::Block) => {
                    let mut text = emit::emit(&wanted[new], column + 2, self.lists);
                    text.truncate(text.trim_end().len());
                    self.replace(element.start, element.content_end(self.text), text)?;
                }
                Some(_) => return None,
                None => self.remove_element(node, elements, at)?,
            }
        }
        let mut new = 0;
        while new < wanted.len() {
            let first = new;
            while new < wanted.len() && aligned.of_after[new].is_none() {
                new += 1;
            }
            let run = &wanted[first..new];
            let next = aligned.of_after.get(new).copied().flatten();
            if !run.is_empty() {
                // Those at the end that go are behind what comes.
                let gone = aligned.of_before.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
                match next {
                    None if gone < elements.len() => self.replace_elements(node, elements, gone, run, column)?,
                    next => self.insert_elements(node, elements, next, run, column)?,
                }
            }
            new += 1;
        }
        Some(())
    }

    /// Elements at the end of a list in the place of those from that one on, which go.
    fn replace_elements(
        &mut self,
        node: &Node,
        elements: &[Node],
        gone: usize,
        run: &[Value],
        column: usize,
    ) -> Option<()> {
        let dash = self.dash(node, elements, gone)?;
        let last = self.line_end(elements.last()?.content_end(self.text));
        if !self.starts_line(dash) || last >= self.end {
            return self.insert_elements(node, elements, None, run, column);
        }
        let line = self.text[..dash].rfind('\n').map_or(0, |at| at + 1);
        let mut text = String::new();
        for element in run {
            text.push_str(&" ".repeat(column));
            text.push_str("- ");
            text.push_str(emit::emit(element, column + 2, self.lists).trim_end());
            text.push('\n');
        }
        self.replace(line, line, text)
    }

    /// Elements before that one, or at the end.
    fn insert_elements(
        &mut self,
        node: &Node,
        elements: &[Node],
        before: Option<usize>,
        run: &[Value],
        column: usize,
    ) -> Option<()> {
        let mut text = String::new();
        let padding = " ".repeat(column);
        match before {
            Some(at) => {
                let dash = self.dash(node, elements, at)?;
                for element in run {
                    text.push_str("- ");
                    text.push_str(&emit::emit(element, column + 2, self.lists));
                    text.push_str(&padding);
                }
                self.replace(dash, dash, text)
            }
            None => {
                let end = self.line_end(elements.last()?.content_end(self.text));
                for element in run {
                    text.push('\n');
                    text.push_str(&padding);
                    text.push_str("- ");
                    text.push_str(emit::emit(element, column + 2, self.lists).trim_end());
                }
                self.replace(end, end, text)
            }
        }
    }

    fn remove_element(&mut self, node: &Node, elements: &[Node], at: usize) -> Option<()> {
        let dash = self.dash(node, elements, at)?;
        if self.starts_line(dash) {
            let line = self.text[..dash].rfind('\n').map_or(0, |at| at + 1);
            return self.remove_lines(line, elements[at].content_end(self.text));
        }
        let next = self.dash(node, elements, at + 1)?;
        self.replace(dash, next, String::new())
    }

    /// Removes whole lines, from the start of one to the end of that which holds `last`. The document's last line keeps its end:
    /// there the one before is taken.
    fn remove_lines(&mut self, start: usize, last: usize) -> Option<()> {
        let end = self.line_end(last);
        if end < self.end {
            return self.replace(start, end + self.text[end..].find('\n')? + 1, String::new());
        }
        let before = self.text[..start].strip_suffix('\n').map_or(start, str::len);
        let before = self.text[..before].strip_suffix('\r').map_or(before, str::len);
        self.replace(before, end, String::new())
    }

    /// Where an element's dash is.
    fn dash(&self, node: &Node, elements: &[Node], at: usize) -> Option<usize> {
        let element = elements.get(at)?;
        if at == 0 && node.start < element.start {
            return Some(node.start);
        }
        if at == 0 {
            // A list that is not indented has its beginning behind the first dash.
            let before = self.text[..element.start].trim_end();
            return before.ends_with('-').then(|| before.len() - 1);
        }
        let column = self.column(self.dash(node, elements, 0)?);
        let mut line = self.text[..element.start].rfind('\n').map_or(0, |at| at + 1);
        let least = elements[at - 1].start;
        loop {
            let dash = line + column;
            if self.text.as_bytes().get(dash) == Some(&b'-') && self.text[line..dash].trim().is_empty() {
                return Some(dash);
            }
            if line <= least {
                return None;
            }
            line = self.text[..line - 1].rfind('\n').map_or(0, |at| at + 1);
        }
    }

    fn field(&self, key: &str, value: &Value, indent: usize) -> String {
        let mut text = String::new();
        emit::field(key, value, indent, self.lists, &mut text);
        text.truncate(text.trim_end().len());
        text
    }

    fn replace(&mut self, start: usize, end: usize, text: String) -> Option<()> {
        self.edits.push(Edit { start, end, text });
        (start <= end).then_some(())
    }

    fn line_end(&self, at: usize) -> usize {
        line_end(self.text, at)
    }

    /// Bytes from the line's start: what stands before a block's first column is ASCII, or the splice is found wanting.
    fn column(&self, at: usize) -> usize {
        at - self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }

    fn starts_line(&self, at: usize) -> bool {
        let line = self.text[..at].rfind('\n').map_or(0, |at| at + 1);
        self.text[line..at].trim().is_empty()
    }
}

/// How the document writes its lists: as the first one in a mapping does.
fn style(text: &str, node: &Node) -> Lists {
    fn first(text: &str, node: &Node) -> Option<Lists> {
        let column = |at: usize| at - text[..at].rfind('\n').map_or(0, |at| at + 1);
        match &node.kind {
            Kind::Map(fields) => fields.iter().find_map(|(key, value)| match &value.kind {
                // Its beginning is behind the first dash where it is not indented.
                Kind::List(_)
                    if column(value.start) <= column(key.start) + 2 && !text[value.start..].starts_with("- ") =>
                {
                    Some(Lists::Flush)
                }
                Kind::List(_) => Some(Lists::Indented),
                _ => first(text, value),
            }),
            Kind::List(elements) => elements.iter().find_map(|element| first(text, element)),
            Kind::Scalar | Kind::Block | Kind::Flow | Kind::Alias => None,
        }
    }
    first(text, node).unwrap_or(Lists::Indented)
}
