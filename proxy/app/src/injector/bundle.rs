//! Telling API servers to believe our authority: the `caBundle` of our own webhook configurations.
//!
//! Several replicas write to the same field, each with an authority of its own, so each adds its own and leaves the others';
//! a patch that meets another one's is made again.

use crate::{
    inject::value::{Value, map},
    kube::{Access, CallError, get, patch},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Authorities in a bundle: replicas of today and the ones before them. The oldest go.
const MOST: usize = 16;
/// Attempts when others write at the same time.
const ATTEMPTS: usize = 8;
const END: &str = "-----END CERTIFICATE-----";

/// The kinds of configuration that have webhooks.
const KINDS: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// Sees to it that both configurations of that name have our authority.
///
/// # Errors
/// What the API server says; a configuration that is not there is none.
pub(super) async fn publish(access: &Access, name: &str, authority: &str) -> Result<(), CallError> {
    for kind in KINDS {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}");
        let mut attempt = 0;
        loop {
            attempt += 1;
            let object = match get(access, &path).await {
                Ok(object) => object,
                // Only one of the two may be wanted.
                Err(CallError::Refused { status: 404, .. }) if kind == KINDS[1] => break,
                Err(error) => return Err(error),
            };
            let operations = operations(&object, authority);
            if operations.is_empty() {
                break;
            }
            match patch(access, &path, &Value::List(operations)).await {
                Ok(_) => {
                    tracing::info!(%name, kind, "the webhook configuration has our authority");
                    break;
                }
                // Somebody else was faster: the test of the version failed.
                Err(CallError::Refused { status: 409 | 422, .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// What makes each webhook's bundle have the authority; nothing where all have it. Pure.
fn operations(object: &Value, authority: &str) -> Vec<Value> {
    let mut operations = Vec::new();
    for (index, webhook) in object.list("webhooks").iter().enumerate() {
        let now = webhook.at(&["clientConfig", "caBundle"]).and_then(Value::as_str).unwrap_or("");
        let now = STANDARD.decode(now).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        if let Some(bundle) = with(&now, authority) {
            operations.push(map([
                ("op", "add".into()),
                ("path", format!("/webhooks/{index}/clientConfig/caBundle").into()),
                ("value", STANDARD.encode(bundle).into()),
            ]));
        }
    }
    if let (false, Some(version)) = (operations.is_empty(), object.at(&["metadata", "resourceVersion"])) {
        let test =
            map([("op", "test".into()), ("path", "/metadata/resourceVersion".into()), ("value", version.clone())]);
        operations.insert(0, test);
    }
    operations
}

/// The bundle with the authority; `None` where it has it.
fn with(bundle: &str, authority: &str) -> Option<String> {
    let mut each: Vec<&str> = bundle.split_inclusive(END).map(str::trim).filter(|one| one.ends_with(END)).collect();
    let own = authority.trim();
    if each.contains(&own) {
        return None;
    }
    let surplus = (each.len() + 1).saturating_sub(MOST);
    each.drain(..surplus);
    each.push(own);
    Some(each.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_adds_its_own_and_the_oldest_go() {
        let pem = |name: &str| format!("-----BEGIN CERTIFICATE-----\n{name}\n{END}\n");
        let one = with("", &pem("a")).unwrap();
        assert_eq!(one, pem("a"));
        assert_eq!(with(&one, &pem("a")), None);
        let two = with(&one, &pem("b")).unwrap();
        assert_eq!(two, pem("a") + &pem("b"));
        let many = (0..40).fold(two, |bundle, number| with(&bundle, &pem(&number.to_string())).unwrap());
        assert_eq!(many.matches(END).count(), MOST);
        assert!(many.contains("\n39\n") && !many.contains("\na\n"));
        assert_eq!(with("garbage", &pem("a")).unwrap(), pem("a"));
    }

    #[test]
    fn the_patch_holds_for_the_version_it_was_made_for() {
        let object: Value =
            serde_json::from_str(r#"{"metadata":{"resourceVersion":"7"},"webhooks":[{"clientConfig":{}},{}]}"#)
                .unwrap();
        let written: Vec<String> = operations(&object, &format!("x\n{END}")).iter().map(Value::to_json).collect();
        assert!(written[0].contains(r#""op":"test","path":"/metadata/resourceVersion","value":"7""#));
        assert!(written[2].contains("/webhooks/1/clientConfig/caBundle"));
    }
}
