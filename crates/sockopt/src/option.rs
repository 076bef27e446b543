//! `setsockopt` for values of fixed layout.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A value that the kernel may read octet by octet.
///
/// # Safety
/// The type has the layout of the C type that its options take, and no padding.
pub(crate) unsafe trait OptionValue {}

// SAFETY: this is the C type of all options that take a number.
unsafe impl OptionValue for libc::c_int {}

/// Sets one option of a socket.
pub(crate) fn set<T: OptionValue>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and the kernel reads `size_of::<T>()`
    // octets, all of them initialized (`OptionValue`), from a pointer that is valid while the call lasts.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
