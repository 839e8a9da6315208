// Preloaded into user-mode Linux, whose kernel 6.1 knows a processor's registers up to AVX-512: it reads and writes them by
// ptrace(2) with room for those. Linux takes what is written only in its full size, which is more where a processor has AMX,
// and no guest would start there ("ptrace set fp regs failed"). What the guest does not know of is left as it is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static _Thread_local char whole[1 << 16] __attribute__((aligned(64)));

long ptrace(enum __ptrace_request request, ...) {
  static long (*real)(enum __ptrace_request, ...);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "ptrace");
  va_list arguments;
  va_start(arguments, request);
  long pid = va_arg(arguments, long);
  void *address = va_arg(arguments, void *);
  void *data = va_arg(arguments, void *);
  va_end(arguments);
  if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE) {
    struct iovec given = *(struct iovec *)data, all = {whole, sizeof whole};
    if (real(PTRACE_GETREGSET, pid, address, &all) == 0 && given.iov_len < all.iov_len) {
      memcpy(whole, given.iov_base, given.iov_len);
      return real(request, pid, address, &all);
    }
  }
  return real(request, pid, address, data);
}
