//! Filters: what those before told them.

use super::*;
use crate::world::SECRET;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use pillion_config::model::Metadata;
use std::rc::Weak;

const TOKENS: &str = "    filters:
      - name: tokens
        jwt: { keys: { secret_file: secret }, algorithms: [HS256], expiry: optional, payload_in_metadata: token }
      - { name: a, headers: [] }
      - name: more-tokens
        jwt: { keys: { secret_file: secret }, algorithms: [HS256], expiry: optional, from: [{ header: x-more }], payload_in_metadata: more }
      - { name: b, headers: [] }";

fn token(claims: &str) -> String {
    let message = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

fn claim(told: &Metadata, key: &str, name: &str) -> Option<String> {
    Some(told.get("envoy.filters.http.jwt_authn")?.get(key)?.get(name)?.as_str()?.to_owned())
}

/// One after the other they ask for a claim each, and a token is long.
#[test]
fn claims_are_read_once_for_a_streams_filters_and_kept_for_the_stream_that_asked_last() {
    type Read = Rc<RefCell<Vec<(String, Weak<Metadata>)>>>;
    let read = Read::default();
    let (held, over) = (Kept::default(), Kept::default());
    for name in ["a", "b"] {
        let (read, keep, keep_over) = (Rc::clone(&read), held.clone(), over.clone());
        script(name, move |event, stream| {
            let told = stream.told();
            let says = |key| claim(&told, key, "sub").unwrap_or_else(|| "-".to_owned());
            read.borrow_mut()
                .push((format!("{name} {} {}", says("token"), says("more")), Rc::downgrade(&stream.told())));
            if let (Event::RequestHeaders(_), "b", "joe") = (event, name, &*says("token")) {
                keep.keep(stream);
                return Do::PauseAll;
            }
            if let Event::Log = event {
                keep_over.keep(stream);
            }
            Do::Continue
        });
    }
    let same = |reads: &[(String, Weak<Metadata>)]| reads.windows(2).all(|pair| Weak::ptr_eq(&pair[0].1, &pair[1].1));
    run(
        Setup { listener: TOKENS, ..PLAIN },
        |_, _| canned(HELLO),
        |world| async move {
            let request = |sub: &str| {
                let (one, more) = (token(&format!(r#"{{"sub":"{sub}"}}"#)), token(r#"{"sub":"more"}"#));
                format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {one}\r\nx-more: {more}\r\n\r\n")
            };
            let mut first = world.connect();
            first.write_all(request("joe").as_bytes()).await.unwrap();
            let stream = held.wait().await;
            let joes = read.take();
            let [(first_words, before), .., (words, after)] = &joes[..] else { panic!("{joes:?}") };
            assert_eq!((&**first_words, &**words), ("a joe -", "b joe more"), "the second filter of tokens tells more");
            assert!(before.upgrade().is_none() && Rc::ptr_eq(&stream.told(), &after.upgrade().unwrap()));

            // Another's, to its end.
            assert_eq!(ask(&world, &request("ann")).await.status, 200);
            settle().await;
            let anns = read.take();
            assert!(anns.len() > 5 && anns[2..].iter().all(|(words, _)| words.contains("ann more")), "{anns:?}");
            assert!(same(&anns[2..]), "read once: {anns:?}");
            assert!(after.upgrade().is_none(), "one stream keeps what was read");
            assert!(anns[2].1.upgrade().is_none(), "and none that is over, whoever keeps it");
            drop(over.wait().await);

            // The first reads again.
            stream.resume(Side::Request);
            assert_eq!(answer(&mut first).await.status, 200);
            let joes = read.take();
            assert!(
                joes.len() > 3 && joes.iter().all(|(words, _)| words.contains("joe more")) && same(&joes),
                "{joes:?}"
            );
        },
    );
}

/// Nothing is kept for who was told nothing.
#[test]
fn without_a_token_nothing_is_told() {
    let read = Rc::<Cell<usize>>::default();
    let count = Rc::clone(&read);
    script("a", move |_, stream| {
        assert!(stream.told().is_empty());
        count.set(count.get() + 1);
        Do::Continue
    });
    run(
        ONE,
        |_, _| canned(HELLO),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 200);
            settle().await;
            assert!(read.get() > 2);
        },
    );
}
