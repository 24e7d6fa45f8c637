#include "base/usage.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int64_t leat_usage_cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * (int64_t)1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

int64_t leat_usage_thread_cpu_us(void) {
    struct timespec used; /* getrusage counts the present slice only when it ends */
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * (int64_t)1000000 + used.tv_nsec / 1000;
}

/* On Linux niceness is a thread's own, and handed on to threads it makes. */
void leat_usage_yield_to_others(void) {
    enum { BEHIND = 15 };
    id_t thread = (id_t)gettid();
    int now = getpriority(PRIO_PROCESS, thread);
    (void)setpriority(PRIO_PROCESS, thread, now + BEHIND); /* where that is refused, it runs as the others do */
}

int64_t leat_usage_peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * (int64_t)1024;
}

void leat_usage_reset_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

int64_t leat_usage_peak_since_reset_bytes(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    long long kilobytes = -1;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lld kB", &kilobytes) == 1) break;
    if (file) fclose(file);
    return kilobytes < 0 ? leat_usage_peak_bytes() : kilobytes * 1024;
}

int64_t leat_usage_written_bytes(void) {
    FILE *file = fopen("/proc/self/io", "r");
    char line[128];
    long long written = -1;
    if (!file) return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "wchar: %lld", &written) == 1) break;
    fclose(file);
    return written;
}

int leat_usage_processors(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (int)n;
}

void leat_usage_allow_files(int count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= (rlim_t)count) return;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > (rlim_t)count ? (rlim_t)count : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
