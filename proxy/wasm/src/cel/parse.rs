//! Tokens into a tree, by the grammar of the language's definition. Its depth is bounded: the tree is walked by recursion.

use super::{
    Malformed, Value,
    function::{Called, Function, regex},
    lex::{Kind, Token},
    time,
};

/// Brackets and signs within one another: what reading recurs for.
const MOST_NESTED: usize = 48;

/// Levels of the tree: what evaluating recurs for.
const MOST_DEPTH: usize = 128;

/// Regular expressions in one expression: compiling one may take a tenth of a millisecond.
const MOST_REGEXES: usize = 8;

/// Words that are no names, but for members.
const RESERVED: [&str; 16] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "while",
];

/// A part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Value),
    Name(String),
    Select(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Choice(Box<(Node, Node, Node)>),
    Call(Function, Vec<Node>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Each(Box<Each>),
}

/// A walk over a list's values, or a map's keys.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) walk: Walk,
    pub(super) over: Node,
    /// What each is called.
    pub(super) name: String,
    /// What is asked of each; `map` may do without.
    pub(super) asked: Option<Node>,
    /// What becomes of each.
    pub(super) made: Option<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Plus,
    Minus,
    Times,
    Over,
    Rest,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

struct Parser {
    tokens: std::vec::IntoIter<Token>,
    depth: usize,
    regexes: usize,
}

/// The tree, and how many regular expressions are in it.
pub(super) fn parse(tokens: Vec<Token>) -> Result<(Node, usize), Malformed> {
    let mut parser = Parser { tokens: tokens.into_iter(), depth: 0, regexes: 0 };
    let node = parser.expression()?;
    match parser.peek() {
        Kind::End if depth(&node) > MOST_DEPTH => parser.wrong("nested too deeply"),
        Kind::End => Ok((node, parser.regexes)),
        _ => parser.wrong("an operator is missing here"),
    }
}

/// Levels of a tree, without recursion.
fn depth(node: &Node) -> usize {
    let (mut deepest, mut left) = (0, vec![(node, 1)]);
    while let Some((node, depth)) = left.pop() {
        deepest = deepest.max(depth);
        let mut go = |node| left.push((node, depth + 1));
        match node {
            Node::Literal(_) | Node::Name(_) => {}
            Node::Select(of, _) | Node::Has(of, _) | Node::Unary(_, of) => go(of),
            Node::Index(one, two) | Node::Binary(_, one, two) => {
                go(one);
                go(two);
            }
            Node::Choice(parts) => {
                let (condition, yes, no) = &**parts;
                [condition, yes, no].into_iter().for_each(go);
            }
            Node::And(nodes) | Node::Or(nodes) | Node::Call(_, nodes) | Node::List(nodes) => {
                nodes.iter().for_each(go);
            }
            Node::Map(entries) => entries.iter().for_each(|(key, value)| {
                go(key);
                go(value);
            }),
            Node::Each(each) => {
                go(&each.over);
                each.asked.iter().chain(&each.made).for_each(go);
            }
        }
    }
    deepest
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.as_slice().first().map_or(&Kind::End, |token| &token.kind)
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, Malformed> {
        let at = self.tokens.as_slice().first().map_or(0, |token| token.at);
        Err(Malformed { at, what: what.into() })
    }

    fn take(&mut self) -> Kind {
        self.tokens.next().map_or(Kind::End, |token| token.kind)
    }

    /// Takes one of these signs, if it is next.
    fn sign(&mut self, wanted: &[&str]) -> Option<&'static str> {
        let Kind::Sign(sign) = *self.peek() else { return None };
        wanted.contains(&sign).then(|| {
            self.take();
            sign
        })
    }

    fn expect(&mut self, sign: &str) -> Result<(), Malformed> {
        match self.sign(&[sign]) {
            Some(_) => Ok(()),
            None => self.wrong(format!("expected {sign:?}")),
        }
    }

    /// One level deeper.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<T, Malformed> {
        if self.depth == MOST_NESTED {
            return self.wrong("nested too deeply");
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn expression(&mut self) -> Result<Node, Malformed> {
        self.nested(|this| {
            let condition = this.or()?;
            if this.sign(&["?"]).is_none() {
                return Ok(condition);
            }
            let yes = this.nested(Self::or)?;
            this.expect(":")?;
            let no = this.expression()?;
            Ok(Node::Choice(Box::new((condition, yes, no))))
        })
    }

    /// Operators of one level: the tree they make leans to the left.
    fn chain(
        &mut self,
        signs: &[&str],
        operand: fn(&mut Self) -> Result<Node, Malformed>,
        join: fn(&'static str, Box<Node>, Box<Node>) -> Node,
    ) -> Result<Node, Malformed> {
        let mut node = operand(self)?;
        while let Some(sign) = self.sign(signs) {
            node = join(sign, Box::new(node), Box::new(operand(self)?));
        }
        Ok(node)
    }

    /// Operands of `&&` or `||`, of which there may be any number.
    fn row(
        &mut self,
        sign: &str,
        operand: fn(&mut Self) -> Result<Node, Malformed>,
        join: fn(Vec<Node>) -> Node,
    ) -> Result<Node, Malformed> {
        let first = operand(self)?;
        if self.sign(&[sign]).is_none() {
            return Ok(first);
        }
        let mut nodes = vec![first, operand(self)?];
        while self.sign(&[sign]).is_some() {
            nodes.push(operand(self)?);
        }
        Ok(join(nodes))
    }

    fn or(&mut self) -> Result<Node, Malformed> {
        self.row("||", Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Node, Malformed> {
        self.row("&&", Self::relation, Node::And)
    }

    fn relation(&mut self) -> Result<Node, Malformed> {
        self.chain(&["==", "!=", "<=", ">=", "<", ">", "in"], Self::sum, |sign, one, two| {
            let operator = match sign {
                "==" => Binary::Equal,
                "!=" => Binary::NotEqual,
                "<=" => Binary::LessOrEqual,
                ">=" => Binary::GreaterOrEqual,
                "<" => Binary::Less,
                ">" => Binary::Greater,
                _ => Binary::In,
            };
            Node::Binary(operator, one, two)
        })
    }

    fn sum(&mut self) -> Result<Node, Malformed> {
        self.chain(&["+", "-"], Self::product, |sign, one, two| {
            Node::Binary(if sign == "+" { Binary::Plus } else { Binary::Minus }, one, two)
        })
    }

    fn product(&mut self) -> Result<Node, Malformed> {
        self.chain(&["*", "/", "%"], Self::unary, |sign, one, two| {
            let operator = match sign {
                "*" => Binary::Times,
                "/" => Binary::Over,
                _ => Binary::Rest,
            };
            Node::Binary(operator, one, two)
        })
    }

    fn unary(&mut self) -> Result<Node, Malformed> {
        match self.sign(&["!", "-"]) {
            None => self.member(),
            Some("!") => Ok(Node::Unary(Unary::Not, Box::new(self.nested(Self::unary)?))),
            Some(_) if *self.peek() == Kind::Least => {
                self.take();
                Ok(Node::Literal(Value::Int(i64::MIN)))
            }
            Some(_) => Ok(Node::Unary(Unary::Minus, Box::new(self.nested(Self::unary)?))),
        }
    }

    fn member(&mut self) -> Result<Node, Malformed> {
        let mut node = self.primary()?;
        loop {
            node = if self.sign(&["."]).is_some() {
                let Kind::Name(name) = self.peek().clone() else { return self.wrong("expected a name after the dot") };
                self.take();
                match self.sign(&["("]) {
                    Some(_) => {
                        let arguments = self.list(")")?;
                        self.call(&name, Some(node), arguments)?
                    }
                    None => Node::Select(Box::new(node), name),
                }
            } else if self.sign(&["["]).is_some() {
                let index = self.expression()?;
                self.expect("]")?;
                Node::Index(Box::new(node), Box::new(index))
            } else {
                return Ok(node);
            };
        }
    }

    fn primary(&mut self) -> Result<Node, Malformed> {
        // A leading dot names the root, where every name is.
        let rooted = self.sign(&["."]).is_some();
        match self.peek().clone() {
            Kind::Name(name) if RESERVED.contains(&name.as_str()) => self.wrong(format!("{name} is no name")),
            Kind::Least => self.wrong("this number is too large"),
            Kind::Name(name) => {
                self.take();
                if self.sign(&["("]).is_none() {
                    return Ok(Node::Name(name));
                }
                let arguments = self.list(")")?;
                self.call(&name, None, arguments)
            }
            Kind::Literal(value) if !rooted => {
                self.take();
                Ok(Node::Literal(value))
            }
            Kind::Sign("(") if !rooted => {
                self.take();
                let node = self.expression()?;
                self.expect(")")?;
                Ok(node)
            }
            Kind::Sign("[") if !rooted => {
                self.take();
                Ok(Node::List(self.list("]")?))
            }
            Kind::Sign("{") if !rooted => {
                self.take();
                let mut entries = Vec::new();
                while self.sign(&["}"]).is_none() {
                    let key = self.expression()?;
                    self.expect(":")?;
                    entries.push((key, self.expression()?));
                    if self.sign(&[","]).is_none() {
                        self.expect("}")?;
                        break;
                    }
                }
                Ok(Node::Map(entries))
            }
            Kind::End => self.wrong("the expression ends too early"),
            _ => self.wrong("expected a value"),
        }
    }

    /// Expressions with commas between them, up to a bracket.
    fn list(&mut self, end: &str) -> Result<Vec<Node>, Malformed> {
        let mut nodes = Vec::new();
        while self.sign(&[end]).is_none() {
            nodes.push(self.expression()?);
            if self.sign(&[","]).is_none() {
                self.expect(end)?;
                break;
            }
        }
        Ok(nodes)
    }

    fn call(&mut self, name: &str, receiver: Option<Node>, arguments: Vec<Node>) -> Result<Node, Malformed> {
        if name == "has" && receiver.is_none() {
            let mut arguments = arguments.into_iter();
            return match (arguments.next(), arguments.next()) {
                (Some(Node::Select(of, field)), None) => Ok(Node::Has(of, field)),
                _ => self.wrong("has() takes a member: has(a.b)"),
            };
        }
        let walk = match name {
            "all" => Some(Walk::All),
            "exists" => Some(Walk::Exists),
            "exists_one" => Some(Walk::ExistsOne),
            "filter" => Some(Walk::Filter),
            "map" => Some(Walk::Map),
            _ => None,
        };
        let receiver = match (walk, receiver) {
            (Some(walk), Some(over)) => return self.each(name, walk, over, arguments),
            (_, receiver) => receiver,
        };
        let Some((function, called, counts)) = Function::named(name) else {
            return self.wrong(format!("there is no function {name} here"));
        };
        match (called, &receiver) {
            (Called::Plain, Some(_)) => return self.wrong(format!("{name} is no method: {name}(x)")),
            (Called::Method, None) => return self.wrong(format!("{name} is a method: x.{name}()")),
            _ => {}
        }
        let arguments: Vec<_> = receiver.into_iter().chain(arguments).collect();
        if !counts.contains(&arguments.len()) {
            let most = counts.end();
            return self
                .wrong(format!("{name} takes {most} arguments at most, its receiver included, and one at least"));
        }
        let function = match (function, arguments.as_slice()) {
            (Function::Matches(_), [_, Node::Literal(Value::Text(pattern))]) => match regex(pattern) {
                Some(_) if self.regexes == MOST_REGEXES => return self.wrong("too many regular expressions"),
                Some(compiled) => {
                    self.regexes += 1;
                    Function::Matches(Some(Box::new(compiled)))
                }
                // No regular expression, or too large a one: it has no value.
                None => Function::Matches(None),
            },
            (Function::Part(_), [_, Node::Literal(Value::Text(zone))]) if time::is_name(zone) => {
                return self
                    .wrong(format!("zones have no names here but UTC: give {zone:?} as an offset such as '-05:00'"));
            }
            (function, _) => function,
        };
        Ok(Node::Call(function, arguments))
    }

    fn each(&mut self, name: &str, walk: Walk, over: Node, arguments: Vec<Node>) -> Result<Node, Malformed> {
        let mut arguments = arguments.into_iter();
        let (Some(Node::Name(variable)), Some(first)) = (arguments.next(), arguments.next()) else {
            return self.wrong(format!("{name} takes a name and an expression: {name}(x, …)"));
        };
        let (asked, made) = match (walk, arguments.next()) {
            (Walk::Map, None) => (None, Some(first)),
            (Walk::Map, Some(made)) => (Some(first), Some(made)),
            (_, None) => (Some(first), None),
            (_, Some(_)) => return self.wrong(format!("{name} takes a name and one expression")),
        };
        match arguments.next() {
            None => Ok(Node::Each(Box::new(Each { walk, over, name: variable, asked, made }))),
            Some(_) => self.wrong(format!("{name} takes fewer arguments")),
        }
    }
}
