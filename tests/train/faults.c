/* A disk that refuses one call: loaded before the C library (LD_PRELOAD), and told by `faults_arm` which.

   Counted are the calls that write to, flush, make or name something below one folder. The n-th fails, or writes half
   of what it was given; then the next one may be refused ("short, then full"). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHORT = -1, SHORT_THEN_FULL = -2 }; /* else the error number */

static char folder[PATH_MAX];
static long calls, chosen;
static int kind;
static char told[PATH_MAX + 32];

void faults_arm(const char *below, long number, int what) {
    snprintf(folder, sizeof folder, "%s", below);
    calls = 0, chosen = number, kind = what;
    told[0] = 0;
}

long faults_count(void) { return calls; }

const char *faults_told(void) { return told; }

static int is_below(const char *path) {
    size_t length = strlen(folder);
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int is_open_below(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* Whether the call is refused; `half` is set where it is to write half. */
static int refused(const char *name, int *half) {
    calls++;
    if (calls == chosen) snprintf(told, sizeof told, "%s", name);
    if (kind > 0 && calls == chosen) return errno = kind, 1;
    if (kind < 0 && half && calls == chosen) return *half = 1, 0;
    if (kind == SHORT_THEN_FULL && calls == chosen + 1) return errno = ENOSPC, 1;
    return 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int descriptor, const void *bytes, size_t count) {
    int half = 0;
    if (is_open_below(descriptor) && refused("write", &half)) return -1;
    return NEXT(write)(descriptor, bytes, half ? (count + 1) / 2 : count);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t place) {
    int half = 0;
    if (is_open_below(descriptor) && refused("pwrite", &half)) return -1;
    return NEXT(pwrite64)(descriptor, bytes, half ? (count + 1) / 2 : count, place);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t place) {
    return pwrite64(descriptor, bytes, count, place);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    int half = 0;
    if (is_open_below(descriptor) && refused("writev", &half)) return -1;
    if (half && count) return NEXT(write)(descriptor, parts[0].iov_base, (parts[0].iov_len + 1) / 2);
    return NEXT(writev)(descriptor, parts, count);
}

/* What is written stays in memory, where it is read again: bringing it to the disk would take most of the time. */
int fsync(int descriptor) { return is_open_below(descriptor) && refused("fsync", 0) ? -1 : 0; }

int ftruncate64(int descriptor, off64_t length) {
    return is_open_below(descriptor) && refused("ftruncate", 0) ? -1 : NEXT(ftruncate64)(descriptor, length);
}

int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

int rename(const char *from, const char *to) {
    return is_below(to) && refused("rename", 0) ? -1 : NEXT(rename)(from, to);
}

int renameat(int here, const char *from, int there, const char *to) {
    return is_below(to) && refused("rename", 0) ? -1 : NEXT(renameat)(here, from, there, to);
}

int renameat2(int here, const char *from, int there, const char *to, unsigned flags) {
    return is_below(to) && refused("renameat2", 0) ? -1 : NEXT(renameat2)(here, from, there, to, flags);
}

int link(const char *from, const char *to) { return is_below(to) && refused("link", 0) ? -1 : NEXT(link)(from, to); }

int mkdir(const char *path, mode_t mode) {
    return is_below(path) && refused("mkdir", 0) ? -1 : NEXT(mkdir)(path, mode);
}

#define OPENS(name, parameters, path, call)                                  \
    int name parameters {                                                    \
        mode_t mode = 0;                                                     \
        if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {          \
            va_list rest;                                                    \
            va_start(rest, flags);                                           \
            mode = va_arg(rest, mode_t);                                     \
            va_end(rest);                                                    \
        }                                                                    \
        if ((flags & O_CREAT) && is_below(path) && refused("open", 0)) return -1; \
        return NEXT(name) call;                                              \
    }

OPENS(open, (const char *path, int flags, ...), path, (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), path, (path, flags, mode))
OPENS(openat, (int here, const char *path, int flags, ...), path, (here, path, flags, mode))
OPENS(openat64, (int here, const char *path, int flags, ...), path, (here, path, flags, mode))
