//! Links the program under test at a fixed address, as the released one stands: in a relocated one every page of constants
//! with an address in it would be the process's own, and hide what it really takes.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bin=pillion-under-test=-no-pie");
}
