/* Makes the disk fail for files whose path ends with a text (and for the write-ahead log beside one), or lies in it if it
   ends with a slash. The file that BAD_DISK names says how, and may change: "<errno> <text>"; while it is missing or
   empty the disk is good. A negative number makes opening to read fail, and not writing. A text "flock" makes locking
   fail, of all files. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *path, int writes) {
    char rule[512], *text;
    const char *name = getenv("BAD_DISK");
    if (!name || !path || (text = strrchr(path, '/')) == NULL) return 0;
    int file = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY);
    if (file < 0) return 0;
    ssize_t size = syscall(SYS_read, file, rule, sizeof rule - 1);
    syscall(SYS_close, file);
    if (size <= 0) return 0;
    rule[size] = 0;
    rule[strcspn(rule, "\n")] = 0;
    int number = strtol(rule, &text, 10);
    if ((number > 0) != writes || *text != ' ' || !(path = strstr(path, ++text))) return 0;
    path += strlen(text);
    if (*path && strcmp(path, ".wal") && text[strlen(text) - 1] != '/') return 0;
    errno = abs(number);
    return 1;
}

static int fails_at(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return fails(path, 1);
}

static int no_locks(void) {
    char rule[64], *text;
    const char *name = getenv("BAD_DISK");
    int file = name ? syscall(SYS_openat, AT_FDCWD, name, O_RDONLY) : -1;
    if (file < 0) return 0;
    ssize_t size = syscall(SYS_read, file, rule, sizeof rule - 1);
    syscall(SYS_close, file);
    rule[size > 0 ? size : 0] = 0;
    int number = strtol(rule, &text, 10);
    if (strncmp(text, " flock", 6)) return 0;
    errno = number;
    return 1;
}

int flock(int fd, int operation) {
    if (!(operation & LOCK_UN) && no_locks()) return -1;
    return syscall(SYS_flock, fd, operation);
}

#define FCNTL(name)                                                 \
    int name(int fd, int command, ...) {                            \
        va_list rest;                                               \
        va_start(rest, command);                                    \
        void *argument = va_arg(rest, void *);                      \
        va_end(rest);                                               \
        int locks = command == F_SETLK || command == F_SETLKW ||    \
                    command == F_OFD_SETLK || command == F_OFD_SETLKW; \
        if (locks && no_locks()) return -1;                         \
        return syscall(SYS_fcntl, fd, command, argument);           \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

#define REAL(name) (__typeof__(&name)) dlsym(RTLD_NEXT, #name)
#define GUARD(type, name, parameters, arguments)                    \
    type name parameters {                                          \
        if (fails_at(fd)) return -1;                                \
        static __typeof__(&name) real;                              \
        if (!real) real = REAL(name);                               \
        return real arguments;                                      \
    }

GUARD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
GUARD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t place), (fd, data, size, place))
GUARD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t place), (fd, data, size, place))
GUARD(int, fsync, (int fd), (fd))
GUARD(int, fdatasync, (int fd), (fd))
GUARD(int, ftruncate, (int fd, off_t size), (fd, size))
GUARD(int, ftruncate64, (int fd, off64_t size), (fd, size))

static int opened(int folder, const char *path, int flags, mode_t mode) {
    if (fails(path, (flags & (O_WRONLY | O_RDWR)) != 0)) return -1;
    int file = syscall(SYS_openat, folder, path, flags, mode);
    return file;
}

#define OPEN(name)                                                  \
    int name(const char *path, int flags, ...) {                    \
        va_list rest;                                               \
        va_start(rest, flags);                                      \
        mode_t mode = va_arg(rest, int);                            \
        va_end(rest);                                               \
        return opened(AT_FDCWD, path, flags, mode);                 \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                \
    int name(int folder, const char *path, int flags, ...) {        \
        va_list rest;                                               \
        va_start(rest, flags);                                      \
        mode_t mode = va_arg(rest, int);                            \
        va_end(rest);                                               \
        return opened(folder, path, flags, mode);                   \
    }
OPENAT(openat)
OPENAT(openat64)
