use super::*;
use crate::telemetry::testing::Recorded;

#[test]
fn connects_pools_and_overflows_are_counted() {
    let recorded = Recorded::default();
    let series = |name: &str, labels: &str| recorded.get(&format!("{name}{{cluster=test{labels}}}"));
    ::metrics::with_local_recorder(&recorded, || {
        run(async {
            let mut model = model(UpstreamProtocol::Http1, &[80]);
            model.circuit.requests = 1;
            let (cluster, _) = cluster(model, |nth, _| match nth {
                0 => Step::Fail(io::ErrorKind::ConnectionRefused),
                _ => serve(|stream| canned(stream, HELLO)),
            });
            send(&cluster, get("/"), &options()).await.unwrap_err();
            assert_eq!(series("pillion_pool_connections_active", ""), 0.0);
            let held = send(&cluster, get("/"), &options()).await.unwrap();
            send(&cluster, get("/"), &options()).await.unwrap_err();
            assert_eq!(series("pillion_pool_connections_active", ""), 1.0);
            text(held).await;
            assert_eq!(series("pillion_pool_connections_idle", ""), 1.0);
            let held = send(&cluster, get("/"), &options()).await.unwrap();
            assert_eq!(series("pillion_pool_connections_idle", ""), 0.0);
            text(held).await;
            cluster.close_idle();
            settle().await;
        });
    });
    for (name, labels, count) in [
        ("pillion_connect_attempts_total", "", 2.0),
        ("pillion_connect_failures_total", ",reason=refused", 1.0),
        ("pillion_balance_overflow_total", ",limit=requests", 1.0),
        ("pillion_pool_connections_active", "", 0.0),
        ("pillion_pool_connections_idle", "", 0.0),
    ] {
        assert_eq!(series(name, labels), count, "{name}");
    }
}
