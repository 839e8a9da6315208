// stalefs: a FUSE passthrough whose every mount behaves like a separate NFS client with lazy metadata caches.
//
//   stalefs [-f] [-s SECONDS] [-m nfs|knfsd|hard] [-d USEC] [-o SECONDS] BACKING MOUNTPOINT
//
// What it does on purpose:
//  * a name looked up as missing stays missing for SECONDS, although another mount created it (negative dentries)
//  * attributes (size, mtime) of a known file stay as they were for SECONDS
//  * mode "nfs" (default) has Linux-NFS's close-to-open rules on top:
//      open(file)      re-reads its attributes and drops stale pages; a handle whose file was replaced or
//                      removed gives ESTALE, on which the kernel looks the name up again by itself
//      reading an open file that another mount has removed or replaced gives ESTALE (an own removal does not)
//      open(directory) forgets missing names in it, when the directory has changed on the server
//      an own change in a directory (create, unlink, rename, ...) that another mount has also changed: likewise
//  * mode "knfsd" is "nfs" less ESTALE, as seen with Linux's own server: a replaced or removed file that this mount knows
//    still opens, with the old content, for up to SECONDS (unless the folder is opened first)
//  * mode "hard" has none of these: only the time-out (and O_CREAT, O_EXCL, mkdir, which the kernel always asks) helps
//  * -d USEC makes each request that reaches the "server" slower by that much
//  * -o SECONDS, which may be negative, has this mount stamp what it writes as a machine does whose clock is off by that
//    much (CephFS's clients stamp files themselves); times that a program sets are set as it says
//
// Built and run by `cargo xtask test-filesystems stalefs`; -f keeps it in the foreground.
#define FUSE_USE_VERSION 35
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

struct neg { struct neg *next; char name[]; };
struct inode {
  struct inode *next;               // hash chain
  int fd;                           // O_PATH handle, as an NFS file handle
  dev_t dev; ino_t ino;
  uint64_t refs;
  pthread_mutex_t mu;
  struct timespec mtime, ctime;     // as last told to the kernel
  off_t size;
  struct neg *neg;                  // names told to be missing (directories); in mode knfsd names told to be there, too
  int opens, silly;                 // open files of this mount; removed by this mount while open (NFS's "silly rename"): keeps working
};
#define HASH 65536
static struct inode *tab[HASH], root;
static pthread_mutex_t tmu = PTHREAD_MUTEX_INITIALIZER;
static double ttl = 5; static int nfs_mode = 1, estale = 1; static useconds_t delay; static double offset;
static struct fuse_session *se;

static struct inode *I(fuse_ino_t i) { return i == FUSE_ROOT_ID ? &root : (struct inode *)(uintptr_t)i; }
static fuse_ino_t N(struct inode *n) { return n == &root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)n; }
static void lag(void) { if (delay) usleep(delay); }
static void forget_later(struct inode *d);
static struct timespec our_now(void) {
  struct timespec t; clock_gettime(CLOCK_REALTIME_COARSE, &t);   // as the kernel stamps files
  long long ns = t.tv_sec * 1000000000LL + t.tv_nsec + (long long)(offset * 1e9);
  t.tv_sec = ns / 1000000000; t.tv_nsec = ns % 1000000000; return t;
}
static void stamp_fd(int fd) { if (offset) { struct timespec t[2] = {{0, UTIME_OMIT}, our_now()}; if (futimens(fd, t)) {} } }
static void stamp_path(int fd) {   // of an O_PATH handle
  if (!offset) return;
  char b[64]; sprintf(b, "/proc/self/fd/%d", fd); struct timespec t[2] = {{0, UTIME_OMIT}, our_now()}; if (utimensat(AT_FDCWD, b, t, 0)) {}
}
static int same(struct inode *n, const struct stat *s) { return n->mtime.tv_sec == s->st_mtim.tv_sec && n->mtime.tv_nsec == s->st_mtim.tv_nsec && n->size == s->st_size && n->ctime.tv_sec == s->st_ctim.tv_sec && n->ctime.tv_nsec == s->st_ctim.tv_nsec; }
static void told_own(struct inode *n, const struct stat *s) { pthread_mutex_lock(&n->mu); n->mtime = s->st_mtim; n->ctime = s->st_ctim; n->size = s->st_size; pthread_mutex_unlock(&n->mu); }
static void told(struct inode *n, const struct stat *s) {   // new attributes reach the kernel; a directory changed by others loses its missing names
  int foreign = nfs_mode && n->neg && !same(n, s); told_own(n, s); if (foreign) forget_later(n);
}
static int st(struct inode *n, struct stat *s) {
  if (fstatat(n->fd, "", s, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) return errno;
  if (n != &root && s->st_nlink == 0 && !n->silly && estale) return ESTALE;   // removed or replaced by another mount: the handle is stale
  return 0;
}
// Forget all names that this mount was told are missing in directory d (mode knfsd: all that it was told of).
static void forget_neg(struct inode *d) {
  pthread_mutex_lock(&d->mu); struct neg *l = d->neg; d->neg = NULL; pthread_mutex_unlock(&d->mu);
  while (l) { struct neg *x = l->next; fuse_lowlevel_notify_inval_entry(se, N(d), l->name, strlen(l->name)); free(l); l = x; }
}
// Work that must not be done while the kernel holds the directory's lock for the request being served.
struct job { struct job *next; struct inode *d; };
static struct job *jobs; static pthread_mutex_t jmu = PTHREAD_MUTEX_INITIALIZER; static pthread_cond_t jcv = PTHREAD_COND_INITIALIZER;
static void unref(struct inode *n, uint64_t k);
static void *worker(void *_) {
  for (;;) {
    pthread_mutex_lock(&jmu); while (!jobs) pthread_cond_wait(&jcv, &jmu); struct job *j = jobs; jobs = j->next; pthread_mutex_unlock(&jmu);
    forget_neg(j->d); unref(j->d, 1); free(j);
  }
  return _;
}
static void changed(struct inode *d, const struct stat *before) {   // an own change in d; before: d as the server had it just before
  stamp_path(d->fd);
  struct stat s; int foreign = !same(d, before);
  if (!st(d, &s)) told_own(d, &s);
  if (nfs_mode && foreign) forget_later(d);
}
static void forget_later(struct inode *d) {
  struct job *j = malloc(sizeof *j); if (!j) return;
  pthread_mutex_lock(&tmu); d->refs++; pthread_mutex_unlock(&tmu);
  pthread_mutex_lock(&jmu); j->d = d; j->next = jobs; jobs = j; pthread_cond_signal(&jcv); pthread_mutex_unlock(&jmu);
}
static struct inode *get(int fd, const struct stat *s) {   // takes over fd
  unsigned h = (s->st_ino * 31 + s->st_dev) % HASH; struct inode *n;
  pthread_mutex_lock(&tmu);
  for (n = tab[h]; n; n = n->next) if (n->ino == s->st_ino && n->dev == s->st_dev) break;
  if (n) { n->refs++; close(fd); }
  else if ((n = calloc(1, sizeof *n))) { n->fd = fd; n->dev = s->st_dev; n->ino = s->st_ino; n->refs = 1; pthread_mutex_init(&n->mu, NULL); n->mtime = s->st_mtim; n->ctime = s->st_ctim; n->size = s->st_size; n->next = tab[h]; tab[h] = n; }
  pthread_mutex_unlock(&tmu);
  return n;
}
// The name in d is about to go away by this mount's doing.
static void silly(struct inode *d, const char *name) {
  struct stat s; if (fstatat(d->fd, name, &s, AT_SYMLINK_NOFOLLOW)) return;
  pthread_mutex_lock(&tmu);
  for (struct inode *n = tab[(s.st_ino * 31 + s.st_dev) % HASH]; n; n = n->next) if (n->ino == s.st_ino && n->dev == s.st_dev && (n->opens || S_ISDIR(s.st_mode))) n->silly = 1;
  pthread_mutex_unlock(&tmu);
}
static void unref(struct inode *n, uint64_t k) {
  if (n == &root) return;
  pthread_mutex_lock(&tmu);
  if ((n->refs -= k) == 0) {
    struct inode **p = &tab[(n->ino * 31 + n->dev) % HASH]; while (*p != n) p = &(*p)->next; *p = n->next;
    pthread_mutex_unlock(&tmu);
    close(n->fd); while (n->neg) { struct neg *x = n->neg->next; free(n->neg); n->neg = x; } free(n);
  } else pthread_mutex_unlock(&tmu);
}
static void remember(struct inode *d, const char *name) { struct neg *x = malloc(sizeof *x + strlen(name) + 1); if (!x) return; strcpy(x->name, name); pthread_mutex_lock(&d->mu); x->next = d->neg; d->neg = x; pthread_mutex_unlock(&d->mu); }
static int entry(struct inode *d, const char *name, struct fuse_entry_param *e) {
  memset(e, 0, sizeof *e); e->attr_timeout = e->entry_timeout = ttl;
  int fd = openat(d->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC); if (fd < 0) return errno;
  if (fstatat(fd, "", &e->attr, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) { int r = errno; close(fd); return r; }
  struct inode *n = get(fd, &e->attr); if (!n) return ENOMEM;
  told(n, &e->attr); e->ino = N(n);
  if (!estale && !S_ISDIR(e->attr.st_mode)) remember(d, name);   // a known name, too, must then be looked up again
  return 0;
}
static void lookup(fuse_req_t q, fuse_ino_t p, const char *name) {
  struct fuse_entry_param e; struct inode *d = I(p); lag();
  struct stat s; int r = entry(d, name, &e);
  if (r == ENOENT) {
    if (st(d, &s) == ESTALE) { fuse_reply_err(q, ESTALE); return; }
    if (nfs_mode) remember(d, name);
    memset(&e, 0, sizeof e); e.entry_timeout = ttl; fuse_reply_entry(q, &e);   // ino 0: "missing", to be believed for ttl
  } else if (r) fuse_reply_err(q, r); else fuse_reply_entry(q, &e);
}
static void forget(fuse_req_t q, fuse_ino_t i, uint64_t k) { unref(I(i), k); fuse_reply_none(q); }
static void forget_multi(fuse_req_t q, size_t c, struct fuse_forget_data *f) { while (c--) unref(I(f[c].ino), f[c].nlookup); fuse_reply_none(q); }
static void getattr(fuse_req_t q, fuse_ino_t i, struct fuse_file_info *fi) {
  struct stat s; (void)fi; lag(); int r = st(I(i), &s);
  if (r) fuse_reply_err(q, r); else { told(I(i), &s); fuse_reply_attr(q, &s, ttl); }
}
static void path(struct inode *n, char *b) { sprintf(b, "/proc/self/fd/%d", n->fd); }
static void setattr(fuse_req_t q, fuse_ino_t i, struct stat *a, int v, struct fuse_file_info *fi) {
  char p[64]; struct inode *n = I(i); path(n, p); lag(); int r = 0;
  if (v & FUSE_SET_ATTR_MODE) r = chmod(p, a->st_mode);
  if (!r && v & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) r = fchownat(n->fd, "", v & FUSE_SET_ATTR_UID ? a->st_uid : (uid_t)-1, v & FUSE_SET_ATTR_GID ? a->st_gid : (gid_t)-1, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  if (!r && v & FUSE_SET_ATTR_SIZE && !(r = fi ? ftruncate(fi->fh, a->st_size) : truncate(p, a->st_size))) stamp_path(n->fd);
  if (!r && v & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) {
    struct timespec t[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    if (v & FUSE_SET_ATTR_ATIME_NOW) t[0].tv_nsec = UTIME_NOW; else if (v & FUSE_SET_ATTR_ATIME) t[0] = a->st_atim;
    if (v & FUSE_SET_ATTR_MTIME_NOW) { if (offset) t[1] = our_now(); else t[1].tv_nsec = UTIME_NOW; } else if (v & FUSE_SET_ATTR_MTIME) t[1] = a->st_mtim;
    r = utimensat(AT_FDCWD, p, t, 0);
  }
  if (r) fuse_reply_err(q, errno); else getattr(q, i, fi);
}
static void readlink_(fuse_req_t q, fuse_ino_t i) { char b[4097]; lag(); int r = readlinkat(I(i)->fd, "", b, 4096); if (r < 0) fuse_reply_err(q, errno); else { b[r] = 0; fuse_reply_readlink(q, b); } }
static void own(fuse_req_t q, struct inode *d, const char *name) {   // new file: give it to the caller
  const struct fuse_ctx *c = fuse_req_ctx(q); struct stat s;
  if (c->uid == geteuid() && c->gid == getegid()) return;
  gid_t g = !st(d, &s) && s.st_mode & S_ISGID ? (gid_t)-1 : c->gid;
  if (fchownat(d->fd, name, c->uid, g, AT_SYMLINK_NOFOLLOW)) {}
}
static void mk(fuse_req_t q, fuse_ino_t p, const char *name, mode_t m, dev_t rd, const char *link) {
  struct inode *d = I(p); struct fuse_entry_param e; struct stat b; lag(); st(d, &b);
  int r = S_ISDIR(m) ? mkdirat(d->fd, name, m) : S_ISLNK(m) ? symlinkat(link, d->fd, name) : mknodat(d->fd, name, m, rd);
  if (r) r = errno; else { own(q, d, name); if (offset) { struct timespec t[2] = {{0, UTIME_OMIT}, our_now()}; if (utimensat(d->fd, name, t, AT_SYMLINK_NOFOLLOW)) {} } r = entry(d, name, &e); changed(d, &b); }
  if (r) fuse_reply_err(q, r); else fuse_reply_entry(q, &e);
}
static void mknod_(fuse_req_t q, fuse_ino_t p, const char *n, mode_t m, dev_t rd) { mk(q, p, n, m, rd, NULL); }
static void mkdir_(fuse_req_t q, fuse_ino_t p, const char *n, mode_t m) { mk(q, p, n, (m & 07777) | S_IFDIR, 0, NULL); }
static void symlink_(fuse_req_t q, const char *l, fuse_ino_t p, const char *n) { mk(q, p, n, S_IFLNK, 0, l); }
static void link_(fuse_req_t q, fuse_ino_t i, fuse_ino_t p, const char *name) {
  char b[64]; struct fuse_entry_param e; struct stat was; path(I(i), b); lag(); st(I(p), &was);
  int r = linkat(AT_FDCWD, b, I(p)->fd, name, AT_SYMLINK_FOLLOW) ? errno : entry(I(p), name, &e);
  if (!r) changed(I(p), &was);
  if (r) fuse_reply_err(q, r); else fuse_reply_entry(q, &e);
}
static void rm(fuse_req_t q, fuse_ino_t p, const char *n, int f) { struct stat b; lag(); st(I(p), &b); silly(I(p), n); int r = unlinkat(I(p)->fd, n, f) ? errno : 0; if (!r) changed(I(p), &b); fuse_reply_err(q, r); }
static void unlink_(fuse_req_t q, fuse_ino_t p, const char *n) { rm(q, p, n, 0); }
static void rmdir_(fuse_req_t q, fuse_ino_t p, const char *n) { rm(q, p, n, AT_REMOVEDIR); }
static void rename_(fuse_req_t q, fuse_ino_t p, const char *n, fuse_ino_t p2, const char *n2, unsigned f) {
  struct stat a, b; lag(); st(I(p), &a); st(I(p2), &b);
  if (!(f & RENAME_EXCHANGE)) silly(I(p2), n2);
  int r = renameat2(I(p)->fd, n, I(p2)->fd, n2, f) ? errno : 0;
  if (!r) { changed(I(p), &a); if (p != p2) changed(I(p2), &b); }
  fuse_reply_err(q, r);
}
static int reopen(fuse_ino_t i, int flags) { char b[64]; path(I(i), b); return open(b, (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL | O_NOCTTY)) | O_CLOEXEC); }
static void open_(fuse_req_t q, fuse_ino_t i, struct fuse_file_info *fi) {
  struct inode *n = I(i); struct stat s; lag();
  int r = st(n, &s); if (r && nfs_mode) { fuse_reply_err(q, r); return; }
  int fd = reopen(i, fi->flags & ~O_APPEND); if (fd < 0) { fuse_reply_err(q, errno); return; }
  __atomic_add_fetch(&n->opens, 1, __ATOMIC_SEQ_CST);
  fi->fh = fd; fi->keep_cache = nfs_mode ? same(n, &s) : 1;
  if (nfs_mode && !same(n, &s)) { fuse_lowlevel_notify_inval_inode(se, i, 0, 0); told(n, &s); }   // close-to-open
  fuse_reply_open(q, fi);
}
static void create_(fuse_req_t q, fuse_ino_t p, const char *name, mode_t m, struct fuse_file_info *fi) {
  struct inode *d = I(p); struct fuse_entry_param e; struct stat b; lag(); st(d, &b);
  int isnew = faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
  int fd = openat(d->fd, name, ((fi->flags | O_CREAT) & ~O_NOFOLLOW & ~O_APPEND) | O_CLOEXEC, m); if (fd < 0) { fuse_reply_err(q, errno); return; }
  if (isnew) own(q, d, name);
  if (isnew || fi->flags & O_TRUNC) stamp_fd(fd);
  int r = entry(d, name, &e); if (isnew) changed(d, &b);
  if (r) { close(fd); fuse_reply_err(q, r); return; }
  __atomic_add_fetch(&I(e.ino)->opens, 1, __ATOMIC_SEQ_CST);
  fi->fh = fd; fuse_reply_create(q, &e, fi);
}
static void read_(fuse_req_t q, fuse_ino_t i, size_t n, off_t o, struct fuse_file_info *fi) {
  lag(); struct stat s; int r = nfs_mode ? st(I(i), &s) : 0; if (r) { fuse_reply_err(q, r); return; }
  struct fuse_bufvec b = FUSE_BUFVEC_INIT(n); b.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK; b.buf[0].fd = fi->fh; b.buf[0].pos = o; fuse_reply_data(q, &b, 0);
}
static void write_(fuse_req_t q, fuse_ino_t i, struct fuse_bufvec *in, off_t o, struct fuse_file_info *fi) {
  lag(); struct fuse_bufvec b = FUSE_BUFVEC_INIT(fuse_buf_size(in)); b.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK; b.buf[0].fd = fi->fh; b.buf[0].pos = o;
  ssize_t r = fuse_buf_copy(&b, in, 0); struct stat s;
  if (r < 0) fuse_reply_err(q, -r); else { stamp_fd(fi->fh); if (!fstat(fi->fh, &s)) told(I(i), &s); fuse_reply_write(q, r); }
}
static void flush_(fuse_req_t q, fuse_ino_t i, struct fuse_file_info *fi) { (void)i; lag(); fuse_reply_err(q, close(dup(fi->fh)) ? errno : 0); }
static void release_(fuse_req_t q, fuse_ino_t i, struct fuse_file_info *fi) { close(fi->fh); __atomic_sub_fetch(&I(i)->opens, 1, __ATOMIC_SEQ_CST); fuse_reply_err(q, 0); }
static void fsync_(fuse_req_t q, fuse_ino_t i, int d, struct fuse_file_info *fi) { (void)i; lag(); fuse_reply_err(q, (d ? fdatasync(fi->fh) : fsync(fi->fh)) ? errno : 0); }
static void fallocate_(fuse_req_t q, fuse_ino_t i, int m, off_t o, off_t l, struct fuse_file_info *fi) { (void)i; lag(); fuse_reply_err(q, fallocate(fi->fh, m, o, l) ? errno : 0); }
struct dh { DIR *d; off_t at; struct dirent *e; };
static void opendir_(fuse_req_t q, fuse_ino_t i, struct fuse_file_info *fi) {
  struct inode *n = I(i); struct stat s; lag();
  int r = st(n, &s); if (r && nfs_mode) { fuse_reply_err(q, r); return; }
  if (nfs_mode && !same(n, &s)) { told_own(n, &s); forget_neg(n); fuse_lowlevel_notify_inval_inode(se, i, -1, 0); }   // close-to-open of the directory
  int fd = openat(n->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); struct dh *h = fd < 0 ? NULL : calloc(1, sizeof *h);
  if (!h || !(h->d = fdopendir(fd))) { r = errno; free(h); fuse_reply_err(q, r); return; }
  fi->fh = (uintptr_t)h; fuse_reply_open(q, fi);
}
static void readdir_(fuse_req_t q, fuse_ino_t i, size_t n, off_t o, struct fuse_file_info *fi) {
  struct dh *h = (struct dh *)(uintptr_t)fi->fh; (void)i; lag();
  char *b = malloc(n), *p = b; size_t left = n; if (!b) { fuse_reply_err(q, ENOMEM); return; }
  if (o != h->at) { seekdir(h->d, o); h->e = NULL; h->at = o; }
  for (;;) {
    if (!h->e && !(h->e = readdir(h->d))) break;
    struct stat s = {.st_ino = h->e->d_ino, .st_mode = h->e->d_type << 12};
    size_t k = fuse_add_direntry(q, p, left, h->e->d_name, &s, h->e->d_off); if (k > left) break;
    p += k; left -= k; h->at = h->e->d_off; h->e = NULL;
  }
  fuse_reply_buf(q, b, n - left); free(b);
}
static void releasedir_(fuse_req_t q, fuse_ino_t i, struct fuse_file_info *fi) { (void)i; struct dh *h = (struct dh *)(uintptr_t)fi->fh; closedir(h->d); free(h); fuse_reply_err(q, 0); }
static void fsyncdir_(fuse_req_t q, fuse_ino_t i, int d, struct fuse_file_info *fi) { (void)i; (void)d; lag(); fuse_reply_err(q, fsync(dirfd(((struct dh *)(uintptr_t)fi->fh)->d)) ? errno : 0); }
static void statfs_(fuse_req_t q, fuse_ino_t i) { struct statvfs s; if (fstatvfs(I(i)->fd, &s)) fuse_reply_err(q, errno); else fuse_reply_statfs(q, &s); }
static void flock_(fuse_req_t q, fuse_ino_t i, struct fuse_file_info *fi, int op) { (void)i; lag(); fuse_reply_err(q, flock(fi->fh, op) ? errno : 0); }

static const struct fuse_lowlevel_ops ops = {.lookup = lookup, .forget = forget, .forget_multi = forget_multi, .getattr = getattr, .setattr = setattr, .readlink = readlink_, .mknod = mknod_, .mkdir = mkdir_,
  .symlink = symlink_, .link = link_, .unlink = unlink_, .rmdir = rmdir_, .rename = rename_, .open = open_, .create = create_, .read = read_, .write_buf = write_, .flush = flush_, .release = release_, .fsync = fsync_,
  .fallocate = fallocate_, .opendir = opendir_, .readdir = readdir_, .releasedir = releasedir_, .fsyncdir = fsyncdir_, .statfs = statfs_, .flock = flock_};

int main(int c, char **v) {
  int o, fg = 0;
  while ((o = getopt(c, v, "fs:m:d:o:")) > 0) switch (o) {
    case 'f': fg = 1; break;
    case 's': ttl = atof(optarg); break;
    case 'd': delay = atoi(optarg); break;
    case 'o': offset = atof(optarg); break;
    case 'm': if (!strcmp(optarg, "nfs")) nfs_mode = 1; else if (!strcmp(optarg, "knfsd")) estale = 0; else if (!strcmp(optarg, "hard")) nfs_mode = 0; else goto usage; break;
    default: goto usage;
  }
  if (c - optind != 2) { usage: fprintf(stderr, "usage: stalefs [-f] [-s SECONDS] [-m nfs|knfsd|hard] [-d USEC] [-o SECONDS] BACKING MOUNTPOINT\n"); return 2; }
  char *back = v[optind], *mnt = realpath(v[optind + 1], NULL); struct stat s; struct rlimit rl;
  if (!mnt) { perror(v[optind + 1]); return 1; }
  if ((root.fd = open(back, O_PATH | O_DIRECTORY)) < 0 || fstat(root.fd, &s)) { perror(back); return 1; }
  pthread_mutex_init(&root.mu, NULL); root.dev = s.st_dev; root.ino = s.st_ino; root.refs = 1; told(&root, &s);
  if (!getrlimit(RLIMIT_NOFILE, &rl)) { rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl); }
  umask(0);
  char fsn[4300]; snprintf(fsn, sizeof fsn, "-odefault_permissions%s,fsname=stalefs,subtype=stalefs", geteuid() ? "" : ",allow_other,suid,dev");
  char *av[] = {"stalefs", fsn}; struct fuse_args a = FUSE_ARGS_INIT(2, av);
  if (!(se = fuse_session_new(&a, &ops, sizeof ops, NULL)) || fuse_set_signal_handlers(se) || fuse_session_mount(se, mnt)) return 1;
  if (fuse_daemonize(fg)) return 1;
  pthread_t t; pthread_create(&t, NULL, worker, NULL);
  struct fuse_loop_config cfg = {.clone_fd = 0, .max_idle_threads = 10};
  int r = fuse_session_loop_mt(se, &cfg);
  fuse_session_unmount(se); return r ? 1 : 0;
}
