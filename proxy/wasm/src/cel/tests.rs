use super::*;
use proptest::prelude::*;

struct Request;

impl Attributes for Request {
    fn get(&self, path: &[&str]) -> Result<Value, NoValue> {
        let text = |text: &str| Ok(Value::Text(text.to_owned()));
        match path {
            ["request", "method"] => text("GET"),
            ["request", "path"] => text("/a/b?q=1"),
            ["request", "headers", "x-a"] => text("1"),
            ["request", "headers"] => {
                Ok(Value::Map(vec![(Value::Text("x-a".to_owned()), Value::Text("1".to_owned()))]))
            }
            ["large"] => Ok(Value::Map(vec![(Value::Text("x".to_owned()), Value::Text("y".repeat(100_000)))])),
            ["request"] => Ok(Value::Group("request")),
            ["request", "size"] => Ok(Value::Int(3)),
            ["request", "time"] => Ok(Value::Time(1_700_000_000_500_000_000)),
            ["message"] => text(""),
            ["message", "field"] => Ok(Value::Map(Vec::new())),
            ["request", "duration"] => Ok(Value::Duration(1_500_000_000)),
            _ => Err(NoValue::Absent),
        }
    }
}

fn eval(text: &str) -> Result<Value, NoValue> {
    Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).evaluate(&Request)
}

#[test]
fn values_are_the_languages() {
    let text = |text: &str| Ok(Value::Text(text.to_owned()));
    let yes = [
        "request.method == 'GET' && request.path.startsWith('/a')",
        "request.headers['x-a'] == \"1\" && 'x-a' in request.headers && !('x-b' in request.headers)",
        "has(request.headers.nobody) == false && has(request.method)",
        "request.path.matches('^/a/[a-z]') && matches(request.path, 'q=')",
        "1 + 2 * 3 == 7 && 7 % 4 == 3 && -7 / 2 == -3 && 1.5 * 2.0 == 3.0",
        "1 == 1u && 1 < 1.5 && 2u > 1 && 1 != 2",
        "2 in [1, 2, 3] && [1, 2] + [3] == [1, 2, 3] && [4, 5][1] == 5",
        "{'a': 1, 'b': [2]}['b'][0] == 2 && {'a': 1}.a == 1 && size({1: 2}) == 1",
        "size('h\\u00e9') == 2 && 'a' + 'b' == 'ab' && 'x'.size() == 1 && b'\\xff' != b'' && r'\\n' == '\\\\n'",
        "true || request.nosuch == 1",
        "request.nosuch == 1 || true",
        "!(false && request.nosuch == 1) && !(request.nosuch == 1 && false)",
        "int('5') == 5 && uint(5) == 5u && string(5) == '5' && double('1.5') == 1.5 && int(2.9) == 2",
        "request.duration > duration('1s') && duration('1h30m') == duration('90m')",
        "[1, 2].exists(x, x == 2) && [1, 2].all(x, x > 0) && [1, 2].exists_one(x, x == 2)",
        "[1, 2].map(x, x * 2) == [2, 4] && [1, 2].map(x, x > 1, x * 2) == [4] && [1, 2].filter(x, x > 1) == [2]",
        "request.headers.exists(name, name.startsWith('x-')) && {'k': 1}.all(k, {'k': 1}[k] == 1)",
        "[[1], [2]].all(x, x.exists(y, y > 0) && size(x) == 1) && [0, 1].exists(x, 1 / x == 1)",
        "[{'a': 1}].all(x, x.a == 1) && !has({'a': 1}.b)",
        "request.time.getFullYear() == 2023 && request.time.getMonth() == 10 && request.time.getHours('-08:00') == 14",
        "timestamp('2023-11-14T22:13:20.5Z') == request.time && string(request.time) == '2023-11-14T22:13:20.500Z'",
        "timestamp(10) - timestamp(4) == duration('6s') && int(timestamp(-1)) == -1 && duration('3661s').getMinutes() == 61",
        "type(1) == int && type(type(1)) == type && [1][0u] == 1 && [1][0.0] == 1 && int(true) == 1 && int(' 1') == 1",
        "string(1e100) == '1e+100' && string(1234567.0) == '1.234567e+06' && string(0.00001) == '1e-05'",
        "string(1.0) == '1' && string(-0.0) == '-0' && string(-1.0 / 0.0) == '-inf'",
        "!has(message.field) && !has({'a': 1}.b) && (has(nope.x) || true)",
        "(request.size > 2 ? 'many' : 'few') == 'many' // a comment",
        "0xff == 255 && -9223372036854775808 < 0 && null == null && 'abc'.contains('b') && 'abc'.endsWith('c')",
    ];
    for text in yes {
        assert_eq!(eval(text), Ok(Value::Bool(true)), "{text}");
    }
    assert_eq!(eval("request.method + ' ' + request.path"), text("GET /a/b?q=1"));
    assert_eq!(eval("'''a'b''' + \"\"\"c\"\"\""), text("a'bc"));
}

#[test]
fn what_has_no_value_says_why() {
    for (text, why) in [
        ("request.nosuch", NoValue::Absent),
        ("[1][1]", NoValue::Absent),
        ("'a'.matches('(')", NoValue::NoOverload),
        ("1 + 1u", NoValue::NoOverload),
        ("'a' < 1", NoValue::NoOverload),
        ("1 && true", NoValue::NoOverload),
        ("has(nope.x)", NoValue::Absent),
        ("has(request.nosuch.x)", NoValue::Absent),
        ("has(request.path.x)", NoValue::NoOverload),
        ("has(message.nosuch)", NoValue::NoOverload),
        ("timestamp('nonsense')", NoValue::NoOverload),
        ("string(timestamp(253402300800))", NoValue::NoOverload),
        ("duration('1s').getFullYear()", NoValue::NoOverload),
        ("request.time.getHours('+2')", NoValue::NoOverload),
        ("-duration('1s')", NoValue::NoOverload),
        ("[1][0.5]", NoValue::Absent),
        ("1 / 0", NoValue::Range),
        ("9223372036854775807 + 1", NoValue::Range),
        ("request.nosuch == 1 && true", NoValue::Absent),
    ] {
        assert_eq!(eval(text), Err(why), "{text}");
    }
    let large = format!("[{}]", vec!["request.path + request.path"; 100].join(","));
    assert!(eval(&large).is_ok());
    let list = format!("[{}]", vec!["1"; 100].join(","));
    let walk = |body: &str| format!("{list}.map(x, {body})");
    assert_eq!(eval(&walk(&walk(&walk("x")))), Err(NoValue::TooLarge), "a million steps");
    assert_eq!(eval("has(large.a)"), Ok(Value::Bool(false)));
    let asked = vec!["has(large.a)"; 20].join(" || ");
    assert_eq!(eval(&asked), Err(NoValue::TooLarge), "a map of 100 KB for each word");
    assert_eq!(eval("x"), Err(NoValue::Absent), "a name is known within its walk");
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for (text, at) in [
        ("1 +", 4),
        ("", 1),
        ("a b", 3),
        ("[1].all(x)", 11),
        ("[1].map(1, 2)", 14),
        ("all(x, true)", 13),
        ("nosuch(1)", 10),
        ("'open", 1),
        ("1x", 1),
        ("99999999999999999999", 1),
        ("9223372036854775808", 1),
        ("1 - 9223372036854775808", 5),
        ("-(9223372036854775808)", 3),
        ("getHours(request.time)", 23),
        ("'5'.int()", 10),
        ("request.time.getHours('Europe/Berlin')", 39),
        ("else", 1),
        ("a.", 3),
        ("{'a' 1}", 6),
        ("size()", 7),
    ] {
        assert_eq!(Expression::parse(text).map_err(|error| error.at).err(), Some(at), "{text}");
    }
    for deep in ["(".repeat(2000), "!".repeat(3000), "a".to_owned() + &".a".repeat(2000), "[".repeat(4000)] {
        assert!(Expression::parse(&deep).is_err());
    }
    assert!(Expression::parse(&vec!["1"; 1500].join("+")).is_err());
    assert!(Expression::parse(&vec!["a == 1"; 400].join("||")).is_ok(), "policies are long");
    assert!(Expression::parse(&["a.matches('a')"; 9].join("||")).is_err());
    assert!(Expression::parse(&"a".repeat(5000)).is_err());
}

#[test]
fn a_value_is_encoded_as_properties_are() {
    let encoded = |text| {
        let mut out = Vec::new();
        eval(text).unwrap().encode(&mut out);
        out
    };
    assert_eq!(encoded("1"), 1_i64.to_le_bytes());
    assert_eq!(encoded("'a'"), b"a");
    assert_eq!(encoded("timestamp(1)"), 1_000_000_000_i64.to_le_bytes());
    assert_eq!(encoded("timestamp('9999-12-31T23:59:59Z')"), i64::MAX.to_le_bytes());
    assert_eq!(encoded("timestamp('0001-01-01T00:00:00Z')"), i64::MIN.to_le_bytes());
    assert_eq!(encoded("true"), [1]);
    assert_eq!(encoded("['x']"), b"\x01\0\0\0\x01\0\0\0\0\0\0\0x\0\0");
    assert_eq!(encoded("{'a': 'b'}"), b"\x01\0\0\0\x01\0\0\0\x01\0\0\0a\0b\0");
}

proptest! {
    #[test]
    fn no_time_panics(text in "-?[0-9]{0,10}-[0-9]{1,2}-[0-9]{1,2}T[0-9:.+Z-]{0,24}", zone in "[0-9:.+-][0-9:.hs+-]{0,24}", seconds: i64) {
        for text in [format!("timestamp('{text}')"), format!("timestamp({seconds})"), format!("duration('{zone}')")] {
            let _ = eval(&text);
            let _ = eval(&format!("string({text})"));
            let _ = eval(&format!("{text}.getDayOfYear('{zone}') + {text}.getHours()"));
        }
    }

    #[test]
    fn no_text_panics(text in "[a-c0-9'\"\\\\.+*/%!<>=&|?:(){}\\[\\], \\n-]{0,60}", any: String) {
        for text in [text, any] {
            if let Ok(expression) = Expression::parse(&text) {
                let _ = expression.evaluate(&Request);
            }
        }
    }
}
