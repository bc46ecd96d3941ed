//! The handler of signals by which a process aborts. It writes the name of what its thread executes, and lets the signal go on.
//!
//! # Safety
//! - The handler may run at any instruction of any thread, on the alternate stack that the standard library gives its threads. It reads a
//!   thread-local cell that is made of a constant and has no destructor, so that reading allocates and registers nothing; it swaps an
//!   atomic; and it calls `getpid`, `write`, `sigaction` and `raise`, which POSIX lists as async-signal-safe. It allocates nothing, locks
//!   nothing and does not panic.
//! - The pointer in the cell is that of a `Named` which [`Named::during`] borrows for as long as it stands there: it is put back when the
//!   work ends, by a return or an unwinding, and no value of it can be forgotten, since it never leaves that function. The `Named` holds its
//!   file open, so the descriptor is its own.
//! - The former actions are in a `OnceLock` that is set before the handler is installed; reading it is an atomic load.
//! - Before anything else the former action is put back, so that a fault inside the handler, or the signal that is raised again, ends where it
//!   would have ended without it: in the standard library's report of a stack overflow, in a debugger's or crash reporter's handler, or in
//!   the default action.
#![allow(unsafe_code, reason = "a signal handler; the safety argument stands above")]

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, sigaction, siginfo_t};

use super::Named;

/// The signals by which a process aborts.
const SIGNALS: [c_int; 4] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL];

/// What was done about them before, in their order.
static FORMER: OnceLock<[sigaction; SIGNALS.len()]> = OnceLock::new();

/// Whether somebody was named: a fault may lead to an abort, which is the same end.
static NAMED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What this thread executes.
    static EXECUTES: Cell<*const Named> = const { Cell::new(ptr::null()) };
}

impl Named {
    /// Does `work`; if the process aborts on this thread meanwhile, this is named.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Back(*const Named);
        impl Drop for Back {
            fn drop(&mut self) {
                EXECUTES.set(self.0);
            }
        }
        let _back = Back(EXECUTES.replace(self));
        work()
    }
}

/// Has aborts of this process name what the thread was executing, from now on. The second call changes nothing.
///
/// # Errors
/// The system refuses the handler.
pub fn install() -> io::Result<()> {
    // SAFETY: both structures live for the calls, and zero is a value of either.
    let former = unsafe {
        let mut former: [sigaction; SIGNALS.len()] = std::mem::zeroed();
        for (signal, kept) in SIGNALS.into_iter().zip(&mut former) {
            if libc::sigaction(signal, ptr::null(), kept) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        former
    };
    if FORMER.set(former).is_err() {
        return Ok(());
    }
    for signal in SIGNALS {
        // SAFETY: as above; `aborts` has the signature that SA_SIGINFO wants.
        let installed = unsafe {
            let mut action: sigaction = std::mem::zeroed();
            action.sa_sigaction = aborts as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, ptr::null_mut())
        };
        if installed != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What this thread is named by, if it is named.
#[cfg(test)]
pub(crate) fn executes() -> Option<String> {
    let named = EXECUTES.get();
    // SAFETY: it lives, see the top of the file.
    let line = (!named.is_null()).then(|| unsafe { String::from_utf8_lossy(&(*named).line).into_owned() })?;
    Some(line.trim_end().to_owned())
}

/// The handler.
extern "C" fn aborts(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    let place = SIGNALS.iter().position(|known| *known == signal);
    if let (Some(former), Some(place)) = (FORMER.get(), place) {
        // SAFETY: see the top of the file.
        unsafe { libc::sigaction(signal, &raw const former[place], ptr::null_mut()) };
    }
    // SAFETY: SA_SIGINFO gives a valid structure; a code above zero is the kernel's, and of the others the sender is known.
    let (is_fault, is_own) = unsafe {
        let code = (*info).si_code;
        (code > 0, code > 0 || (*info).si_pid() == libc::getpid())
    };
    let named = EXECUTES.try_with(Cell::get).unwrap_or(ptr::null());
    if is_own && !named.is_null() && !NAMED.swap(true, Ordering::Relaxed) {
        // SAFETY: it lives, see the top of the file. A short write leaves a line that names nobody.
        unsafe {
            let Named { file, line } = &*named;
            libc::write(file.as_raw_fd(), line.as_ptr().cast(), line.len());
        }
    }
    // a fault happens again when this returns; what was sent is sent again
    if !is_fault {
        // SAFETY: see the top of the file.
        unsafe { libc::raise(signal) };
    }
}

/// What the tests need of the system to abort a process in earnest. They run it in a process of its own.
#[cfg(test)]
pub(super) mod tried {
    use std::io::Write as _;

    use libc::c_int;

    /// How a process ends in [`former`].
    pub(in super::super) const ENDS: c_int = 77;

    extern "C" fn ends(_: c_int) {
        // SAFETY: it is async-signal-safe.
        unsafe { libc::_exit(ENDS) }
    }

    /// Has the four signals end the process in a handler of its own, as a crash reporter has.
    pub(in super::super) fn former() {
        for signal in super::SIGNALS {
            // SAFETY: `ends` has the signature that a handler without SA_SIGINFO has.
            let before = unsafe { libc::signal(signal, ends as *const () as libc::sighandler_t) };
            assert_ne!(before, libc::SIG_ERR);
        }
    }

    /// Does what the system answers with the signal of this name.
    pub(in super::super) fn fault(signal: &str) {
        // SAFETY: the process is to end by it.
        unsafe {
            match signal {
                "SIGSEGV" => std::ptr::null::<u8>().wrapping_add(16).read_volatile(),
                "SIGBUS" => beyond_the_end(),
                "SIGILL" => no_instruction(),
                other => panic!("{other}"),
            };
        }
    }

    /// Reads a page of a file that has become shorter.
    unsafe fn beyond_the_end() -> u8 {
        use std::os::fd::AsRawFd as _;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 8192]).unwrap();
        // SAFETY: a mapping of a file that is open.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        file.set_len(0).unwrap();
        // SAFETY: it is mapped, and no page stands behind it any more.
        unsafe { at.cast::<u8>().read_volatile() }
    }

    unsafe fn no_instruction() -> u8 {
        // SAFETY: the process is to end by it.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!("ud2")
        };
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!("udf #0")
        };
        0
    }
}
