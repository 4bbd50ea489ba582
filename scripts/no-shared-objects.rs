//! Linked into the static binary in place of glibc's `__libc_dlopen_mode` and libgcc's `_Unwind_Backtrace` (`scripts/build-static` does it).
//!
//! A static glibc reads `/etc/nsswitch.conf`, and loads a shared object for each source named there but `files` and `dns`, with the libc
//! that this needs: the system's, of another version as a rule. On Debian 13 that killed a binary built on Debian 12 with
//! SIGFPE, where `hosts:` names `myhostname`, `mdns4_minimal` or `resolve`, as it does on most desktops. Told that the
//! object is not there, glibc goes on with the next source, which is what those files mean by "unavailable".
//!
//! Rejected: a resolver in Rust (hickory's crates, or our own), to get around a call that is not wanted anyway; and
//! `__nss_configure_lookup`, which would need unsafe code in the crate.
#![no_std]

use core::ffi::{c_char, c_int, c_void};

/// There is no such shared object, whatever its name.
// SAFETY: the linker's `--wrap=__libc_dlopen_mode` makes this name, so nothing else bears it.
#[unsafe(no_mangle)]
pub extern "C" fn __wrap___libc_dlopen_mode(_name: *const c_char, _mode: c_int) -> *mut c_void {
    core::ptr::null_mut()
}

/// There is no frame to go back to: the binary has no tables for unwinding (`scripts/no-unwind-tables.ld`), and libgcc's own
/// function aborts where it does not find one for itself. It is called for a backtrace, with `RUST_BACKTRACE` set.
// SAFETY: the linker's `--wrap=_Unwind_Backtrace` makes this name, so nothing else bears it.
#[unsafe(no_mangle)]
pub extern "C" fn __wrap__Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
    const END_OF_STACK: c_int = 5; // _URC_END_OF_STACK
    END_OF_STACK
}
