/* A compiler that costs next to nothing, so that what a launcher adds shows alone.
 * -E copies the source to standard output or to -o OUT; -c writes a small file to -o OUT. Other options are ignored.
 * Built static, named `gcc`. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char text[1 << 16];

int main(int argc, char **argv) {
  const char *source = NULL, *out = NULL;
  int preprocess = 0;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "-o") && i + 1 < argc) out = argv[++i];
    else if (!strcmp(argv[i], "-E")) preprocess = 1;
    else if (!strcmp(argv[i], "-dumpmachine")) return puts("x86_64-linux-gnu") < 0;
    else if (!strcmp(argv[i], "--version")) return puts("gcc (fake) 12.2.0") < 0;
    else if (argv[i][0] != '-') source = argv[i];
  }
  if (!source) return 0;
  int in = open(source, O_RDONLY);
  ssize_t length = in < 0 ? -1 : read(in, text, sizeof text);
  if (length < 0) return perror(source), 1;
  int to = preprocess && !out ? 1 : open(out ? out : "a.out", O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (to < 0) return perror(out), 1;
  return write(to, text, (size_t)length) != length;
}
