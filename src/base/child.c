#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLICE_MS = 100 }; /* how late a stop may be noticed */
extern char **environ;

static enum leat_status read_output(int fd, struct leat_buffer *out, struct leat_error *err) {
    char bytes[8192];
    enum leat_status st = LEAT_OK;
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n == 0) return st;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return leat_fail(err, LEAT_IO, "reading a child's output: %s", strerror(errno));
        if (st == LEAT_OK) st = leat_buffer_add(out, bytes, (size_t)n, err); /* read on, so that it can end */
    }
}

static enum leat_status spawn(char *const argv[], int output, pid_t *pid, struct leat_error *err) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    int failed = posix_spawn(pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed ? leat_fail(err, LEAT_IO, "starting %s: %s", argv[0], strerror(failed)) : LEAT_OK;
}

static int64_t us(struct timeval t) {
    return t.tv_sec * (int64_t)1000000 + t.tv_usec;
}

enum leat_status leat_child_run(char *const argv[], struct leat_buffer *out, struct leat_child_outcome *outcome, struct leat_error *err) {
    int ends[2], status = 0;
    pid_t pid;
    struct rusage used;
    if (pipe2(ends, O_CLOEXEC) != 0) return leat_fail(err, LEAT_IO, "pipe: %s", strerror(errno));
    enum leat_status st = spawn(argv, ends[1], &pid, err);
    close(ends[1]);
    if (st == LEAT_OK) {
        st = read_output(ends[0], out, err);
        while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR) {}
        *outcome = (struct leat_child_outcome){WIFEXITED(status) ? WEXITSTATUS(status) : -1, us(used.ru_utime) + us(used.ru_stime),
                                               used.ru_maxrss * (int64_t)1024};
        if (st == LEAT_OK && !WIFEXITED(status)) st = leat_fail(err, LEAT_IO, "%s was ended by signal %d", argv[0], WTERMSIG(status));
    }
    close(ends[0]);
    return st;
}

enum leat_status leat_child_start(char *const argv[], const char *log_path, pid_t *out, struct leat_error *err) {
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    posix_spawn_file_actions_t actions;
    if (log < 0) return leat_fail_errno(err, "open", log_path);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, log, 1);
    posix_spawn_file_actions_adddup2(&actions, log, 2);
    int failed = posix_spawn(out, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(log);
    return failed ? leat_fail(err, LEAT_IO, "starting %s: %s", argv[0], strerror(failed)) : LEAT_OK;
}

static int exit_code_of(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool leat_child_ended(pid_t pid, int *exit_code) {
    int status;
    if (waitpid(pid, &status, WNOHANG) != pid) return false;
    *exit_code = exit_code_of(status);
    return true;
}

enum leat_status leat_child_stop(pid_t pid, int *exit_code, struct leat_error *err) {
    int status;
    if (kill(pid, SIGTERM) != 0 && errno != ESRCH) return leat_fail_errno(err, "stop", "a program");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return leat_fail_errno(err, "wait for", "a program");
    *exit_code = exit_code_of(status);
    return LEAT_OK;
}

enum leat_status leat_child_open(char *const argv[], struct leat_child_pipe *out, struct leat_error *err) {
    int to[2], from[2];
    posix_spawn_file_actions_t actions;
    *out = (struct leat_child_pipe){0};
    if (pipe2(to, O_CLOEXEC) != 0) return leat_fail_errno(err, "pipe", argv[0]);
    if (pipe2(from, O_CLOEXEC) != 0) {
        close(to[0]);
        close(to[1]);
        return leat_fail_errno(err, "pipe", argv[0]);
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawn(&out->pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    out->to = to[1];
    out->from = from[0];
    if (!failed) return LEAT_OK;
    close(out->to);
    close(out->from);
    *out = (struct leat_child_pipe){0};
    return leat_fail(err, LEAT_IO, "starting %s: %s", argv[0], strerror(failed));
}

static enum leat_status child_failed(struct leat_error *err, const char *what) {
    leat_fail(err, LEAT_IO, "%s", what);
    if (err) err->retriable = true;
    return LEAT_IO;
}

static enum leat_status wait_for(const struct leat_child_pipe *child, int fd, short events, int64_t timeout_us, struct leat_error *err) {
    struct pollfd waiting = {.fd = fd, .events = events};
    const int64_t slice = child->stop ? SLICE_MS : INT32_MAX;
    for (int64_t ms = (timeout_us + 999) / 1000;;) {
        if (child->stop && atomic_load(child->stop)) return leat_fail(err, LEAT_CANCELLED, "stopped");
        int ready = poll(&waiting, 1, (int)(ms < slice ? ms : slice));
        if (ready > 0) return LEAT_OK;
        if (ready == 0 && (ms -= slice) <= 0) return child_failed(err, "nothing is said within the time allowed");
        if (ready < 0 && errno != EINTR) return leat_fail_errno(err, "poll", "a program"); /* a signal begins the slice anew */
    }
}

enum leat_status leat_child_write(struct leat_child_pipe *child, const void *bytes, size_t n, int64_t timeout_us, struct leat_error *err) {
    for (const char *at = bytes, *end = at + n; at < end;) {
        enum leat_status st = wait_for(child, child->to, POLLOUT, timeout_us, err);
        if (st != LEAT_OK) return st;
        ssize_t put = write(child->to, at, (size_t)(end - at) < PIPE_BUF ? (size_t)(end - at) : PIPE_BUF); /* does not block */
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return child_failed(err, "the program has ended");
        at += put;
    }
    return LEAT_OK;
}

enum leat_status leat_child_read(struct leat_child_pipe *child, void *out, size_t want, size_t *got, int64_t timeout_us, struct leat_error *err) {
    *got = 0;
    enum leat_status st = wait_for(child, child->from, POLLIN, timeout_us, err);
    if (st != LEAT_OK) return st;
    ssize_t n;
    while ((n = read(child->from, out, want)) < 0 && errno == EINTR) {}
    if (n <= 0) return child_failed(err, "the program has ended");
    *got = (size_t)n;
    return LEAT_OK;
}

int leat_child_close(struct leat_child_pipe *child) {
    int status = 0;
    if (!child->pid) return 0;
    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {}
    close(child->to);
    close(child->from);
    *child = (struct leat_child_pipe){0};
    return exit_code_of(status);
}

bool leat_child_waits(const struct leat_child_pipe *child) {
    struct pollfd from = {.fd = child->from, .events = POLLIN};
    return child->pid && poll(&from, 1, 0) == 0;
}

void leat_child_kill(const struct leat_child_pipe *child) {
    if (child->pid) kill(child->pid, SIGKILL);
}

/* Of its data, in the kernel's count: a sanitizer's shadow is many times what a machine has. */
static uint64_t held_bytes(void) {
    char text[256] = {0};
    unsigned long pages = 0;
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) > 0 && sscanf(text, "%*u %*u %*u %*u %*u %lu", &pages) != 1) pages = 0;
    close(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void leat_child_limit(uint64_t memory_bytes) {
    uint64_t all = held_bytes() + memory_bytes;
    struct rlimit memory = {all, all};
    setrlimit(RLIMIT_DATA, &memory); /* refused only where the bound is lower already */
}

void leat_child_leaves_no_core(void) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

void leat_child_confine(uint64_t memory_bytes) {
    leat_child_limit(memory_bytes);
    leat_child_leaves_no_core();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score < 0) return;
    if (write(score, "1000", 4) != 4) {} /* it is a help, no need */
    close(score);
}

struct leat_child_pipe leat_child_parent(void) {
    return (struct leat_child_pipe){.to = 1, .from = 0};
}

char *leat_child_self(void) {
    char path[4096];
    static const char link[] = "/proc/self/exe", gone[] = " (deleted)"; /* replaced by an upgrade: the link leads to it all the same */
    const size_t tail = sizeof gone - 1;
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n > (ssize_t)tail && memcmp(path + (size_t)n - tail, gone, tail) == 0) return leat_strdup(link);
    return leat_strndup(path, n < 0 ? 0 : (size_t)n);
}
