//! object: what each of the two objects must have beside its programs.

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier would refuse a program that can come here: nothing in this crate can panic.
    loop {}
}

/// The kernel asks for a licence compatible with the GPL where a program reads kernel memory (`peer`); the filter's helpers
/// ask for none in particular.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
