use super::*;
use crate::inject::value::{Map, map};
use proptest::prelude::*;

/// Changes the only document of a text.
fn change(text: &str, with: impl FnOnce(&mut Value)) -> (String, Kept) {
    let documents = read(text).unwrap();
    let [document] = &documents[..] else { panic!("{} documents", documents.len()) };
    let mut value = document.value.clone();
    with(&mut value);
    let (out, kept) = rewrite(text, &documents, std::slice::from_ref(&value));
    let again = read(&out).unwrap_or_else(|fault| panic!("{fault:?}\n{out}"));
    assert!(matches!(&again[..], [one] if one.value == value), "another meaning:\n{out}");
    (out, kept[0])
}

const POD: &str = "\
# the head
spec:   # the spec
  # above the list
  containers:
  - name: app   # the app
    image: a:1
    args: [\"x\", 'y']
    # a probe
    readinessProbe:
      tcpSocket: {port: 80}   # why
      periodSeconds: 3
  # the second
  - name: b
    command:
    - |
      echo
        hello

  # trailing
status: {}
";

#[test]
fn edits_leave_everything_else_alone() {
    let (out, kept) = change(POD, |pod| {
        let spec = pod.as_map_mut().unwrap().get_mut("spec").unwrap();
        let containers = spec.list_at("containers").unwrap();
        containers[0].at_mut(&["readinessProbe"]).unwrap().as_map_mut().unwrap().replace(
            "tcpSocket",
            "httpGet",
            map([("path", "/p".into()), ("port", 1_u16.into())]),
        );
        containers.insert(0, map([("name", "proxy".into()), ("x", Value::List(vec!["a".into()]))]));
        containers.push(map([("name", "last".into())]));
        spec.as_map_mut().unwrap().set("volumes", Value::List(vec![map([("name", "v".into())])]));
    });
    assert_eq!(kept, Kept::Everything);
    let expected = "\
# the head
spec:   # the spec
  # above the list
  containers:
  - name: proxy
    x:
    - a
  - name: app   # the app
    image: a:1
    args: [\"x\", 'y']
    # a probe
    readinessProbe:
      httpGet:
        path: /p
        port: 1   # why
      periodSeconds: 3
  # the second
  - name: b
    command:
    - |
      echo
        hello
  - name: last
  volumes:
  - name: v

  # trailing
status: {}
";
    assert_eq!(out, expected);
}

#[test]
fn removing_leaves_everything_else_alone() {
    let text = "a: 1\n# of b\nb:\n- name: x\n  y: 1\n# of z\n- name: z\n# of c\nc: {d: 1}\n";
    let (out, kept) = change(text, |value| {
        value.list_at("b").unwrap().remove(0);
        value.as_map_mut().unwrap().remove("a");
    });
    assert_eq!((out.as_str(), kept), ("# of b\nb:\n# of z\n- name: z\n# of c\nc: {d: 1}\n", Kept::Everything));
}

#[test]
fn windows_line_ends_stay() {
    let (out, kept) = change("a: 1\r\nb:\r\n  c: 2 # x\r\n", |value| {
        value.as_map_mut().unwrap().get_mut("b").unwrap().as_map_mut().unwrap().set("d", 3_u16);
    });
    assert_eq!((out.as_str(), kept), ("a: 1\r\nb:\r\n  c: 2 # x\r\n  d: 3\r\n", Kept::Everything));
    let (out, kept) = change("b:\r\n  c: |\r\n    x\r\n    y\r\na: 1\r\n", |value| {
        value.as_map_mut().unwrap().get_mut("b").unwrap().as_map_mut().unwrap().set("d", 3_u16);
    });
    assert_eq!((out.as_str(), kept), ("b:\r\n  c: |\r\n    x\r\n    y\r\n  d: 3\r\na: 1\r\n", Kept::Everything));
}

#[test]
fn what_an_alias_names_is_not_spliced() {
    let text = "u: &base # c\n  a: 1\nv: *base\n";
    let (out, kept) = change(text, |value| {
        value.as_map_mut().unwrap().get_mut("v").unwrap().as_map_mut().unwrap().set("b", 2_u16);
    });
    assert_eq!((out.as_str(), kept), ("u:\n  a: 1\nv:\n  a: 1\n  b: 2\n", Kept::Meaning));
    // What is not touched keeps its aliases and comments.
    let (out, kept) = change(text, |value| value.as_map_mut().unwrap().set("z", true));
    assert_eq!((out.as_str(), kept), ("u: &base # c\n  a: 1\nv: *base\nz: true\n", Kept::Everything));
}

#[test]
fn documents_are_changed_one_by_one() {
    let text = "# one\na: 1\n---\n# two\nb: 1\n...\n---\n---\nc: 1 # three";
    let documents = read(text).unwrap();
    let mut wanted: Vec<Value> = documents.iter().map(|document| document.value.clone()).collect();
    assert_eq!(wanted.len(), 3);
    for value in &mut wanted {
        value.as_map_mut().unwrap().set("z", 0_u16);
    }
    let (out, _) = rewrite(text, &documents, &wanted);
    assert_eq!(out, "# one\na: 1\nz: 0\n---\n# two\nb: 1\nz: 0\n...\n---\n---\nc: 1 # three\nz: 0");
}

#[test]
fn merged_mappings_are_written_out() {
    let text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n";
    assert_eq!(read(text).unwrap()[0].value.at(&["use", "x"]), Some(&Value::Int(1)));
    let (out, kept) = change(text, |value| {
        value.as_map_mut().unwrap().get_mut("use").unwrap().as_map_mut().unwrap().set("z", 0_u16);
    });
    assert_eq!(kept, Kept::Meaning, "{out}");
}

#[test]
fn faults_have_a_place_and_a_remedy() {
    for (text, line, words) in [
        ("a: 1\na: 2\n", 2, "written twice"),
        ("a: {{ .Values.x }}\n", 1, "render it first"),
        ("a: *b\n", 1, "not valid YAML"),
        ("a: [1\n", 2, "not valid YAML"),
        ("? [a]\n: b\n", 2, "cannot be a list"),
    ] {
        let fault = read(text).unwrap_err();
        assert!(fault.message.contains(words), "{text}: {fault:?}");
        assert_eq!(fault.line, line, "{text}: {fault:?}");
    }
    let deep = "[".repeat(200);
    assert!(read(&deep).unwrap_err().message.contains("nested deeper"));
    let laughs: String =
        (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","))).collect();
    assert!(read(&format!("a0: &a0 x\n{laughs}")).unwrap_err().message.contains("aliases"));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..300).prop_map(Value::from),
        "[ -~é\n]{0,12}".prop_map(Value::from),
        "(yes|on|null|~|0644|1e3|-|\\.|2026-01-01|12:30|a: b|# x|x #y|\\* a|& a|!x|%x|@x|'|\"|\\{|\\[|,)"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]|name|a b|true|1", inner, 0..4)
                .prop_map(|map| Value::Map(Map(map.into_iter().collect()))),
        ]
    })
}

/// Plain scalars that some reader takes for another type: the patterns of <https://yaml.org/type/> for YAML 1.1, those of
/// YAML 1.2.2 §10.2.1, and what Go's and libyaml's readers take besides.
fn of_another_type() -> impl Strategy<Value = String> {
    prop_oneof![
        "(y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)",
        "(~|null|Null|NULL|=|<<|)",
        "[-+]?0b[0-1_]{1,6}",
        "[-+]?0B[0-1_]{1,6}",
        "[-+]?0[oO]?[0-7_]{1,6}",
        "[-+]?(0|[1-9][0-9_]{0,20})",
        "[-+]?0[xX][0-9a-fA-F_]{1,12}",
        "[-+]?[1-9][0-9_]{0,3}(:[0-5]?[0-9]){1,2}(\\.[0-9_]{0,3})?",
        "[-+]?([0-9][0-9_]{0,5})?\\.[0-9._]{0,5}[0-9]([eE][-+]?[0-9]{1,2})?",
        "[-+]?[0-9]{1,5}\\.?([eE][-+]?[0-9]{1,3})?",
        "[-+]?\\.(inf|Inf|INF)",
        "\\.(nan|NaN|NAN)",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]| {1,2})[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,3})?( {0,1}(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?",
    ]
}

proptest! {
    /// What had to be quoted is quoted, whichever reader comes next.
    #[test]
    fn text_that_looks_like_another_type_stays_text(text in of_another_type()) {
        for indented in [emit::Lists::Indented, emit::Lists::Flush] {
            let out = emit(&Value::List(vec![text.as_str().into()]), 0, indented);
            prop_assert_eq!(out, format!("- \"{text}\"\n"));
        }
    }

    /// What is written is read as the same.
    #[test]
    fn emitted_text_means_the_value(value in any_value()) {
        for lists in [emit::Lists::Indented, emit::Lists::Flush] {
            let text = emit(&value, 0, lists);
            let read = read(&text).map_err(|fault| TestCaseError::fail(format!("{fault:?}\n{text}")))?;
            let read = read.first().map_or(Value::Null, |node| node.value.clone());
            prop_assert_eq!(&read, &value, "{}", text);
        }
    }

    /// Whatever is changed to whatever, the text means it.
    #[test]
    fn rewritten_text_means_what_is_wanted(before in any_value(), after in any_value()) {
        let text = emit(&before, 0, emit::Lists::Indented);
        let documents = read(&text).map_err(|fault| TestCaseError::fail(format!("{fault:?}")))?;
        // A manifest is a mapping, before and after.
        if matches!((&before, &after), (Value::Map(_), Value::Map(_))) {
            let (out, _) = rewrite(&text, &documents, std::slice::from_ref(&after));
            let read = read(&out).map_err(|fault| TestCaseError::fail(format!("{fault:?}\n{text}\n=>\n{out}")))?;
            let read = read.first().map_or(Value::Null, |node| node.value.clone());
            prop_assert_eq!(read, after, "{}", out);
        }
    }
}
