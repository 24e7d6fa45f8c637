/* The real and the virtual clock, the random generator, and log lines. */
#include "base/env.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_SIZE 4096

/* ---- clocks ---- */

static int64_t read_clock_us(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t real_now_us(struct leat_clock *clock) {
    (void)clock;
    return read_clock_us(CLOCK_REALTIME);
}

static int64_t real_monotonic_us(struct leat_clock *clock) {
    (void)clock;
    return read_clock_us(CLOCK_MONOTONIC);
}

static void real_sleep_until(struct leat_clock *clock, int64_t deadline_us) {
    leat_clock_wait(clock, deadline_us, NULL, 0);
}

void leat_clock_wait(struct leat_clock *clock, int64_t deadline_us, const int *fds, int count) {
    if (clock->wait) {
        clock->wait(clock, deadline_us, fds, count);
        return;
    }
    if (clock->sleep_until != real_sleep_until) {
        clock->sleep_until(clock, deadline_us);
        return;
    }
    const int *wake_fd = clock->context;
    int64_t left_us = deadline_us - read_clock_us(CLOCK_MONOTONIC);
    if (left_us <= 0) return;
    struct pollfd *wait = leat_alloc(((size_t)count + 1) * sizeof *wait);
    wait[0] = (struct pollfd){.fd = wake_fd ? *wake_fd : -1, .events = POLLIN}; /* a negative one is ignored */
    for (int i = 0; i < count; i++)
        wait[i + 1] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    struct timespec timeout = {.tv_sec = left_us / 1000000, .tv_nsec = (left_us % 1000000) * 1000};
    ppoll(wait, (nfds_t)count + 1, &timeout, NULL); /* a signal ends it too */
    free(wait);
}

struct leat_clock *leat_clock_real(void) {
    static struct leat_clock clock = {
        .now_us = real_now_us, .monotonic_us = real_monotonic_us, .sleep_until = real_sleep_until};
    return &clock;
}

static int alarm_fd = -1;

struct leat_clock *leat_clock_with_alarm(void) {
    static struct leat_clock clock;
    if (alarm_fd < 0) alarm_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    clock = *leat_clock_real();
    clock.context = &alarm_fd;
    return &clock;
}

void leat_clock_alarm(void) {
    int saved = errno;
    uint64_t one = 1;
    if (write(alarm_fd, &one, sizeof one) < 0) {
    } /* full or not open: the signal itself ends a sleep that has begun */
    errno = saved;
}

static int64_t virtual_now_us(struct leat_clock *clock) {
    return *(int64_t *)clock->context;
}

static void virtual_sleep_until(struct leat_clock *clock, int64_t deadline_us) {
    int64_t *now_us = clock->context;
    if (deadline_us > *now_us) *now_us = deadline_us;
}

void leat_clock_virtual_init(struct leat_clock *clock, int64_t *now_us_storage) {
    *clock = (struct leat_clock){.now_us = virtual_now_us,
                                 .monotonic_us = virtual_now_us,
                                 .sleep_until = virtual_sleep_until,
                                 .context = now_us_storage};
}

/* ---- random: xoshiro256** and splitmix64 (Blackman and Vigna) ---- */

void leat_random_seed(struct leat_random *random, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        random->s[i] = z ^ (z >> 31);
    }
}

static uint64_t rotate_left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

uint64_t leat_random_next(struct leat_random *random) {
    uint64_t *s = random->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t leat_random_below(struct leat_random *random, uint64_t bound) {
    /* Values under 2^64 mod bound would make the low results likelier: drawn again. */
    uint64_t biased = (0 - bound) % bound, x;
    do
        x = leat_random_next(random);
    while (x < biased);
    return x % bound;
}

double leat_random_unit(struct leat_random *random) {
    return (double)(leat_random_next(random) >> 11) * 0x1p-53;
}

void leat_random_uuid(struct leat_random *random, char out[37]) {
    uint64_t high = leat_random_next(random), low = leat_random_next(random);
    high = (high & ~(uint64_t)0xF000) | 0x4000;             /* version 4 */
    low = (low & ~((uint64_t)3 << 62)) | (uint64_t)2 << 62; /* RFC 4122 variant */
    snprintf(out, 37, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xFFFF),
             (unsigned)(high & 0xFFFF), (unsigned)(low >> 48), (unsigned long long)(low & 0xFFFFFFFFFFFFu));
}

/* ---- environment and log ---- */

void leat_env_real(struct leat_env *env) {
    memset(env, 0, sizeof *env);
    env->io = leat_io_real();
    env->clock = leat_clock_real();
    env->log_level = LEAT_LOG_INFO;
    /* 32 bytes come whole once the kernel's pool is ready; without getrandom (a seccomp filter) two clocks and the
     * process id still tell incarnations apart. */
    if (getrandom(&env->random, sizeof env->random, 0) != (ssize_t)sizeof env->random)
        leat_random_seed(&env->random, (uint64_t)read_clock_us(CLOCK_REALTIME) ^
                                           (uint64_t)read_clock_us(CLOCK_MONOTONIC) << 20 ^ (uint64_t)getpid() << 44);
}

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

/* "2026-01-31T23:59:59.123Z" */
static void put_now(struct leat_env *env, char out[40]) {
    int64_t now_us = env->clock->now_us(env->clock);
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm utc;
    char stamp[32] = "";
    if (gmtime_r(&seconds, &utc)) strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out, 40, "%s.%03dZ", stamp, (int)(now_us / 1000 % 1000));
}

static void log_to_stderr(struct leat_env *env, enum leat_log_level level, const char *line) {
    char now[40];
    put_now(env, now);
    fprintf(stderr, "%s %-5s %s\n", now, LEVELS[level], line);
}

void leat_log_json(struct leat_env *env, enum leat_log_level level, const char *line) {
    struct leat_buffer text = {0};
    char now[40];
    put_now(env, now);
    leat_putf(&text, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", now, LEVELS[level]);
    leat_put_json_string(&text, line, strlen(line));
    leat_put(&text, "}\n");
    fwrite(text.data, 1, text.length, stderr);
    leat_buffer_deinit(&text);
}

void leat_log(struct leat_env *env, enum leat_log_level level, const char *format, ...) {
    if (level < env->log_level) return;
    char line[LOG_LINE_SIZE];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0) return;
    if ((size_t)length >= sizeof line) memcpy(line + sizeof line - 4, "...", 4);
    /* One event is one line, whatever text from outside it quotes. */
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = ' ';
    if (env->log)
        env->log(env, level, line);
    else
        log_to_stderr(env, level, line);
}
