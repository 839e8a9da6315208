//! Descriptors that whoever started this daemon left open without `CLOEXEC`. No child of ours gets them: a compiler or a
//! spawner that holds somebody's pipe keeps that somebody waiting for its end.

/// Marks every descriptor above stderr as close-on-exec; call it in a child between fork and exec. A kernel before 5.11
/// cannot, which is no reason to fail.
pub(crate) fn close_on_exec_above_stderr() {
    // SAFETY: changes descriptor flags of this process only.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}
