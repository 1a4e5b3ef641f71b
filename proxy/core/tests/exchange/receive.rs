//! Heads on HTTP/2 are held to what HTTP/1's guard demands.

use crate::{
    client::{fetch, http2, request},
    server::echo,
    world::{PLAIN, Setup, run},
};

#[test]
fn underscores_and_expectations() {
    for (name, value, status, reason) in
        [("x_y", "1", 400, "underscore"), ("expect", "miracles", 417, "unknown_expectation")]
    {
        run(
            PLAIN,
            |_, _| echo(),
            move |world| async move {
                let mut sender = http2(&world).await;
                let head = request("GET", "/").header(name, value).body(()).unwrap();
                assert_eq!(fetch(&mut sender, head).await.unwrap().status(), status);
                assert_eq!(world.record().await.end(), (status, "DPE", reason, "downstream"));
                assert_eq!(world.refusals(reason), 1.0);
            },
        );
    }
    let accept = Setup { listener: "    underscores: accept", ..PLAIN };
    run(
        accept,
        |_, _| echo(),
        |world| async move {
            let mut sender = http2(&world).await;
            let head = request("GET", "/").header("x_y", "1").body(()).unwrap();
            assert_eq!(fetch(&mut sender, head).await.unwrap().status(), 200);
        },
    );
}
