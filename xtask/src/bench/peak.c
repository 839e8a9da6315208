/* peak COMMAND ARGS...: runs it with its output discarded and prints the peak memory, in KiB, that wait4 reports.
 * In C and static, because Linux carries the peak of the memory before execve over to the new program: whoever
 * forks has to be smaller than what is measured. */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 2) return fputs("usage: peak COMMAND ARGS...\n", stderr), 64;
  pid_t child = fork();
  if (child < 0) return perror("fork"), 71;
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) dup2(null, 1);
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    _exit(127);
  }
  int status;
  struct rusage usage;
  if (wait4(child, &status, 0, &usage) < 0) return perror("wait4"), 71;
  printf("%ld\n", usage.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
