use super::*;
use proptest::prelude::*;

const ALL: PathPolicy = PathPolicy { resolve_dots: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Keep };

fn with(escaped_slashes: EscapedSlashes) -> PathPolicy {
    PathPolicy { escaped_slashes, ..ALL }
}

/// The clean spelling, or the name of the refusal.
fn cleaned(path: &str, policy: &PathPolicy) -> String {
    match clean(path, policy) {
        Cleaned::Unchanged => path.to_owned(),
        Cleaned::Changed(clean) => clean,
        Cleaned::Refused(refusal) => refusal.name().to_owned(),
    }
}

#[test]
fn nothing_to_do() {
    for path in [
        "/",
        "*",
        "",
        "/a/b.html?x=../..//%zz&y=%2e",
        "/.well-known/x",
        "/...",
        "/a/..b/c..",
        "/a.b/",
        "/%20%C3%BC%3F%25",
        "/a;v=1/b,c=d!$&'()*+@:~-_",
        "/a/...;/..b;/;../;/b..;",
        "/%2F%5C",
        "/?",
    ] {
        assert_eq!(clean(path, &ALL), Cleaned::Unchanged, "{path}");
    }
}

#[test]
fn one_spelling_for_one_resource() {
    for (path, expected) in [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/.", "/"),
        ("/a/..", "/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b?x", "/b?x"),
        ("//a///b//", "/a/b/"),
        ("//", "/"),
        ("//evil.example/x", "/evil.example/x"),
        ("/a//../b", "/b"),
        ("/%61dmin", "/admin"),
        ("/%7euser/%2d%5f", "/~user/-_"),
        ("/a%c3%bc", "/a%C3%BC"),
        ("/a\u{fc}", "/a%C3%BC"),
        ("/a\\..\\admin", "/admin"),
        ("\\admin", "/admin"),
        ("/\\evil", "/evil"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("?x=1", "/?x=1"),
        ("/a/..;/b", "path_above_root"),
        ("/a/.;x=y/b", "path_above_root"),
        ("/a/%2e%2E;/b", "path_above_root"),
        ("/a/..;", "path_above_root"),
        ("/..;a;b/c", "path_above_root"),
        ("/a\\..;\\b", "path_above_root"),
        ("/a/../../b", "path_above_root"),
        ("/..", "path_above_root"),
        ("/a/%2e./../x", "path_above_root"),
        ("/%zz", "path_invalid_escape"),
        ("/%0", "path_invalid_escape"),
        ("/%", "path_invalid_escape"),
        ("/%+1", "path_invalid_escape"),
        ("/%00", "path_escaped_nul"),
        ("/a b", "path_invalid_byte"),
        ("/a\r\nb", "path_invalid_byte"),
        ("/a?b c", "path_invalid_byte"),
        ("/a#b", "path_invalid_byte"),
        ("/a?b#c", "path_invalid_byte"),
        ("/a\u{7f}", "path_invalid_byte"),
        ("admin", "path_not_absolute"),
        ("*/x", "path_not_absolute"),
        ("example.com:443", "path_not_absolute"),
        ("http://a/b", "path_not_absolute"),
    ] {
        assert_eq!(cleaned(path, &ALL), expected, "{path}");
    }
}

#[test]
fn parameters_are_left_out_up_to_the_next_slash() {
    for (path, bare) in [
        ("/admin;a=b", "/admin"),
        ("/admin;", "/admin"),
        ("/admin;a/b;c;d/", "/admin/b/"),
        ("/;a/admin", "/admin"),
        ("/admin/;a", "/admin/"),
        ("/;", "/"),
    ] {
        assert_eq!(without_parameters(path).as_deref(), Some(bare), "{path}");
    }
    assert_eq!(without_parameters("/admin%3Ba/b"), None);
}

#[test]
fn escaped_slashes_follow_the_policy() {
    for (path, keep, reject, decode) in [
        ("/a%2fb", "/a%2Fb", "path_escaped_slash", "/a/b"),
        ("/a%5Cb", "/a%5Cb", "path_escaped_slash", "/a/b"),
        ("/a%2f..%2Fb", "/a%2F..%2Fb", "path_escaped_slash", "/b"),
        ("/%2F%2fa", "/%2F%2Fa", "path_escaped_slash", "/a"),
        ("/a/..%2f..", "/a/..%2F..", "path_escaped_slash", "path_above_root"),
    ] {
        assert_eq!(cleaned(path, &with(EscapedSlashes::Keep)), keep, "{path}");
        assert_eq!(cleaned(path, &with(EscapedSlashes::Reject)), reject, "{path}");
        assert_eq!(cleaned(path, &with(EscapedSlashes::Decode)), decode, "{path}");
    }
}

#[test]
fn what_is_off_is_left_alone() {
    let dots_only = PathPolicy { merge_slashes: false, ..ALL };
    assert_eq!(cleaned("//a//b/../c", &dots_only), "//a//c");
    assert_eq!(cleaned("/a//..", &dots_only), "/a/");
    assert_eq!(cleaned("//../..", &dots_only), "path_above_root");
    let slashes_only = PathPolicy { resolve_dots: false, ..ALL };
    assert_eq!(cleaned("//a/./../b", &slashes_only), "/a/./../b");
    assert_eq!(cleaned("/a\\b", &slashes_only), "/a\\b");
    assert_eq!(cleaned("//a/..;/b", &slashes_only), "/a/..;/b");
    assert_eq!(cleaned("\\a", &slashes_only), "path_not_absolute");
}

fn policies() -> impl Strategy<Value = PathPolicy> {
    let slashes = prop_oneof![Just(EscapedSlashes::Keep), Just(EscapedSlashes::Reject), Just(EscapedSlashes::Decode),];
    (any::<bool>(), any::<bool>(), slashes).prop_map(|(resolve_dots, merge_slashes, escaped_slashes)| PathPolicy {
        resolve_dots,
        merge_slashes,
        escaped_slashes,
    })
}

/// Paths made of what matters, so that the interesting ones are not rare.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("/"), 2 => Just("."), 2 => Just(".."), 1 => Just("%2e"), 1 => Just("%2F"), 1 => Just("%5c"),
        1 => Just("\\"), 1 => Just("a"), 1 => Just("%61"), 1 => Just("%"), 1 => Just("%00"), 1 => Just("%c3"),
        1 => Just("\u{fc}"), 1 => Just("?"), 1 => Just(";"), 1 => Just("%25"), 1 => Just(" "),
    ];
    let built = prop::collection::vec(piece, 0..14).prop_map(|pieces| format!("/{}", pieces.concat()));
    prop_oneof![3 => built, 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn cleaning_twice_is_cleaning_once(path in paths(), policy in policies()) {
        if let Cleaned::Changed(once) = clean(&path, &policy) {
            prop_assert_ne!(&once, &path);
            prop_assert_eq!(clean(&once, &policy), Cleaned::Unchanged, "{}", once);
        }
    }

    #[test]
    fn the_quick_look_agrees_with_the_rebuilding(path in paths(), policy in policies()) {
        if clean(&path, &policy) == Cleaned::Unchanged && path.starts_with('/') {
            let (path_only, query) = split(&path);
            prop_assert_eq!(rebuild(path_only.as_bytes(), query, &policy), Ok(path.clone()));
        }
    }

    #[test]
    fn a_clean_path_has_nothing_left_to_misread(path in paths(), policy in policies()) {
        let clean = match clean(&path, &policy) {
            Cleaned::Unchanged => path,
            Cleaned::Changed(clean) => clean,
            Cleaned::Refused(_) => return Ok(()),
        };
        let (clean, _) = split(&clean);
        prop_assert!(clean.is_ascii() && !clean.bytes().any(never_in_a_uri));
        prop_assert!(!clean.contains("%00") && !clean.contains("%61") && !clean.contains("%2e"));
        if policy.resolve_dots {
            let mut segments = clean.split(['/', '\\']);
            let name = |segment: &str| segment.split_once(';').map_or(segment.to_owned(), |(name, _)| name.to_owned());
            prop_assert!(segments.all(|segment| !matches!(&*name(segment), "." | "..")), "{}", clean);
        }
        if policy.merge_slashes {
            prop_assert!(!clean.contains("//"), "{}", clean);
        }
        if policy.escaped_slashes != EscapedSlashes::Keep {
            prop_assert!(!clean.contains("%2F") && !clean.contains("%5C"), "{}", clean);
        }
    }

    #[test]
    fn the_query_is_never_changed(path in paths(), query in "[!-\"$-~]{0,20}", policy in policies()) {
        let (path, _) = split(&path);
        let target = format!("{path}?{query}");
        match clean(&target, &policy) {
            Cleaned::Changed(clean) => prop_assert_eq!(split(&clean).1, format!("?{query}")),
            Cleaned::Unchanged | Cleaned::Refused(_) => {}
        }
    }
}

/// Nanoseconds cleaning costs. To be run with optimisation:
/// `cargo test -p pillion-core --profile profiling -- --ignored --nocapture cost_of_cleaning`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_cleaning() {
    let rounds = 20_000u32;
    for path in ["/api/v1/items/42?fields=name,price", "/a/../%61dmin//x?y"] {
        let batch = |_| {
            let before = std::time::Instant::now();
            for _ in 0..rounds {
                std::hint::black_box(clean(std::hint::black_box(path), &ALL));
            }
            before.elapsed().as_nanos() / u128::from(rounds)
        };
        let each = (0..50).map(batch).min().unwrap_or_default();
        println!("{path}: {each} ns");
    }
}
