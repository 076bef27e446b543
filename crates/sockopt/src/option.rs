//! `setsockopt` and `getsockopt` for values of fixed layout.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A value that the kernel may read octet by octet.
///
/// # Safety
/// The type has the layout of the C type that its options take, and no padding.
pub(crate) unsafe trait OptionValue {}

// SAFETY: this is the C type of all options that take a number.
unsafe impl OptionValue for libc::c_int {}

/// A value that the kernel may write octet by octet.
///
/// # Safety
/// The type has the layout of the C type that its options give, and every pattern of bits is one of its values.
pub(crate) unsafe trait OptionAnswer: Copy {}

// SAFETY: this is the C type of the option, and all its fields are numbers.
unsafe impl OptionAnswer for libc::tcp_info {}

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

/// Asks for one option of a socket. What a kernel does not know is zero.
pub(crate) fn get<T: OptionAnswer>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the kernel writes `length` octets at most,
    // which is the size of what the pointer points to, valid while the call lasts.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroes and whatever the kernel wrote over them are a value (`OptionAnswer`).
    Ok(unsafe { value.assume_init() })
}
