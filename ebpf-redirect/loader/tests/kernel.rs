//! The redirect on this machine's kernel.

#[test]
fn the_self_test_says_what_this_kernel_can_do() {
    match redirect::try_out(&redirect::Object::default()) {
        Ok((report, took)) => {
            println!("loaded in {took:?}");
            for outcome in report.outcomes {
                println!("{}: {}", outcome.property, outcome.failure.as_deref().unwrap_or("ok"));
            }
        }
        Err(error) => panic!("{error}"),
    }
}
