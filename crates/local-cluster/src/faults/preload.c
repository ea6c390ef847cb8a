/* Loaded before libc into a program under test: breaks its disk and its clock on demand.
 *
 * FAULT_CONTROL names a file of 256 bytes that is mapped and looked at on every call; `faults.rs`
 * writes it while the program runs. FAULT_FOLDER names the folder whose files are meant.
 *
 *   0  u32  fail: 1 while syncs fail with EIO
 *   8  u64  delay: nanoseconds that each sync takes longer
 *  16  i64  jump: nanoseconds by which the wall clock is ahead; the monotonic clock is left alone
 *  24  u64  seen: syncs of the files meant, counted here
 *  32  u64  failed: those of them that failed, counted here
 *  40  -    text: part of the path, ended by a zero byte; empty means every file in the folder
 *
 * fsync and fdatasync are the only disk calls broken. The store writes by system calls of its own,
 * which nothing loaded before libc can see; writes that fail are tested with a full disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    uint32_t fail;
    uint32_t unused;
    uint64_t delay;
    int64_t jump;
    uint64_t seen;
    uint64_t failed;
    char part[216];
};
_Static_assert(sizeof(struct control) == 256, "as faults.rs has it");

static struct control *control;
static const char *folder;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("FAULT_CONTROL");
    folder = getenv("FAULT_FOLDER");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = MAP_FAILED;
    if (fd >= 0 && folder)
        mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        /* A fault that cannot strike would make a test pass for nothing. */
        fprintf(stderr, "FAULT_CONTROL or FAULT_FOLDER cannot be used\n");
        _exit(70);
    }
    close(fd);
    control = mapped;
}

static int is_meant(int fd)
{
    char link[64], path[4097];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return 0;
    path[len] = 0;
    size_t above = strlen(folder);
    if (strncmp(path, folder, above) != 0 || (path[above] != '/' && path[above] != 0))
        return 0;
    return strstr(path + above, control->part) != NULL;
}

static int sync_fd(long call, int fd)
{
    if (control && is_meant(fd)) {
        __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
        uint64_t delay = __atomic_load_n(&control->delay, __ATOMIC_SEQ_CST);
        struct timespec rest = {.tv_sec = delay / 1000000000, .tv_nsec = delay % 1000000000};
        while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
            ;
        if (__atomic_load_n(&control->fail, __ATOMIC_SEQ_CST)) {
            __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return sync_fd(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_fd(SYS_fdatasync, fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(clock, now);
    if (outcome != 0 || !control || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return outcome;
    int64_t jump = __atomic_load_n(&control->jump, __ATOMIC_SEQ_CST);
    now->tv_sec += jump / 1000000000;
    now->tv_nsec += jump % 1000000000;
    if (now->tv_nsec >= 1000000000) {
        now->tv_nsec -= 1000000000;
        now->tv_sec += 1;
    } else if (now->tv_nsec < 0) {
        now->tv_nsec += 1000000000;
        now->tv_sec -= 1;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
