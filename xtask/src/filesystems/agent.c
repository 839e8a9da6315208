// agent of user-mode Linux guests, their first process: runs shell scripts for the host inside a user-mode-linux guest.
//   agent PORT       serve: per connection a script arrives (until end of input), its output goes back, and at the end "\n\036RC=<status>"
// One connection is one command; each gets a session (process group) of its own, which is killed when the connection breaks.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int c, char **v) {
  int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1; struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(c > 1 ? atoi(v[1]) : 7000)};
  setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(l, (void *)&a, sizeof a) || listen(l, 64)) { perror("umlagent"); return 1; }
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    int s = accept4(l, NULL, NULL, SOCK_CLOEXEC); if (s < 0) continue;
    if (fork()) { close(s); continue; }
    signal(SIGCHLD, SIG_DFL); signal(SIGPIPE, SIG_IGN); close(l);
    size_t n = 0, cap = 1 << 20; char *b = malloc(cap); ssize_t r;
    while (n < cap - 1 && (r = read(s, b + n, cap - 1 - n)) > 0) n += r;
    b[n] = 0;
    pid_t p = fork();
    if (!p) { setsid(); dup2(s, 1); dup2(s, 2); int z = open("/dev/null", 0); if (z > 0) dup2(z, 0); execl("/bin/bash", "bash", "-c", b, (char *)NULL); _exit(127); }
    int st; for (;;) { if (waitpid(p, &st, WNOHANG) == p) break; struct pollfd f = {.fd = s, .events = POLLRDHUP & 0}; if (poll(&f, 1, 20) > 0 && f.revents & (POLLHUP | POLLERR)) { kill(-p, SIGKILL); } }
    char t[64]; int k = snprintf(t, sizeof t, "\n\036RC=%d", WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st)); if (write(s, t, k) < 0) {} shutdown(s, SHUT_RDWR); _exit(0);
  }
}
