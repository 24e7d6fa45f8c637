/* Load over HTTP from one thread: requests at a rate (each due at its time, latency counted from then) or as fast as they are answered.
 *
 *   http_bench post PORT PATH SECONDS RATE CONNECTIONS BATCH BYTES   records of BYTES bytes, BATCH a request; RATE requests a second, 0: all that go
 *   http_bench get PORT PATH SECONDS RATE CONNECTIONS KEYS           PATH and a number below KEYS
 *   http_bench probe PORT SOURCE TABLE SECONDS EVERY_MS              one record with a new key, EVERY_MS apart on average; how long until its row can be read
 *
 * Prints: requests, not answered by 200, seconds, p50 and p99 and largest latency in ms, CPU seconds of this program. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 2000, ANSWER_BYTES = 64 << 10 };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int port;

static int connect_to_server(bool blocking) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!blocking) fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* ---- latencies ---- */

static double *latencies;
static size_t latency_count, latency_capacity, refused;

static void note(double latency_s) {
    if (latency_count == latency_capacity) {
        latency_capacity = latency_capacity ? latency_capacity * 2 : 1 << 16;
        latencies = realloc(latencies, latency_capacity * sizeof *latencies);
        if (!latencies) fail("realloc");
    }
    latencies[latency_count++] = latency_s;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(double seconds) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    if (!latency_count) {
        fputs("no answer\n", stderr);
        exit(1);
    }
    qsort(latencies, latency_count, sizeof *latencies, by_value);
    printf("%zu %zu %.3f %.3f %.3f %.3f %.3f\n", latency_count, refused, seconds, latencies[latency_count / 2] * 1e3,
           latencies[(size_t)((double)latency_count * 0.99)] * 1e3, latencies[latency_count - 1] * 1e3, cpu);
}

/* ---- requests ---- */

struct message { char *bytes; size_t length; };

static uint64_t numbers;

/* Body of `batch` records; every record has a number of its own. */
static struct message make_post(const char *path, int batch, int bytes) {
    size_t room = (size_t)batch * (size_t)(bytes + 64) + 1024;
    char *body = malloc(room), *message = malloc(room + 1024);
    if (!body || !message) fail("malloc");
    size_t n = 0;
    for (int i = 0; i < batch; i++) {
        uint64_t number = numbers++;
        size_t start = n;
        n += (size_t)sprintf(body + n, "{\"event_id\":\"e-%llu\",\"card\":\"c-%llu\",\"amount\":%llu.50,\"ts\":\"2026-01-31T12:%02llu:%02llu\",\"note\":\"",
                             (unsigned long long)number, (unsigned long long)(number * 7919 % 10000), (unsigned long long)(number % 500),
                             (unsigned long long)(number / 600000 % 60), (unsigned long long)(number / 10000 % 60));
        for (; n - start + 3 < (size_t)bytes; n++) body[n] = (char)('a' + (n & 15));
        n += (size_t)sprintf(body + n, "\"}\n");
    }
    struct message m = {message, 0};
    m.length = (size_t)sprintf(message, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: %zu\r\n\r\n", path, n);
    memcpy(message + m.length, body, n);
    m.length += n;
    free(body);
    return m;
}

static struct message make_get(const char *path, uint64_t keys) {
    struct message m = {malloc(1024), 0};
    if (!m.bytes) fail("malloc");
    uint64_t key = numbers++ * 2654435761u % keys;
    m.length = (size_t)snprintf(m.bytes, 1024, "GET %s%llu HTTP/1.1\r\nHost: localhost\r\n\r\n", path, (unsigned long long)key);
    return m;
}

/* Bytes of the whole answer at `bytes`; 0: more is to come. */
static size_t answer_length(const char *bytes, size_t n) {
    const char *end = memmem(bytes, n, "\r\n\r\n", 4);
    if (!end) return 0;
    const char *length = strcasestr(bytes, "content-length:");
    size_t total = (size_t)(end - bytes) + 4 + (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
    return total <= n ? total : 0;
}

struct connection {
    int fd;
    struct message out;
    size_t sent, got;
    double due;
    bool busy;
    char in[ANSWER_BYTES];
};

static void send_more(struct connection *c) {
    while (c->sent < c->out.length) {
        ssize_t n = send(c->fd, c->out.bytes + c->sent, c->out.length - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) fail("send");
        c->sent += (size_t)n;
    }
}

static void receive_more(struct connection *c) {
    ssize_t n = recv(c->fd, c->in + c->got, sizeof c->in - c->got - 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        fprintf(stderr, "the server closed a connection: %.*s\n", (int)c->got, c->in);
        exit(1);
    }
    c->got += (size_t)n;
    c->in[c->got] = 0;
    if (!answer_length(c->in, c->got)) return;
    if (memcmp(c->in, "HTTP/1.1 200", 12) != 0) refused++;
    note(now_s() - c->due);
    c->busy = false;
    c->got = 0;
}

static void load(bool post, const char *path, double seconds, double rate, int count, int batch, int bytes) {
    struct connection *connections = calloc((size_t)count, sizeof *connections);
    struct epoll_event events[256];
    int epoll = epoll_create1(0), idle = count;
    enum { PREPARED = 256 };
    if (!connections || epoll < 0) fail("start");
    for (int i = 0; i < count; i++) {
        connections[i].fd = connect_to_server(false);
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)i};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &e) != 0) fail("epoll");
    }
    double start = now_s(), end = start + seconds;
    uint64_t asked = 0;
    for (double now = start; now < end || idle < count; now = now_s()) {
        if (now > end + 30) fail("answers are missing");
        for (int i = 0; i < count && idle && now < end; i++) {
            struct connection *c = &connections[i];
            double due = rate > 0 ? start + (double)asked / rate : now;
            if (due > now) break;
            if (c->busy) continue;
            free(c->out.bytes);
            c->out = post ? make_post(path, batch, bytes) : make_get(path, (uint64_t)batch);
            c->sent = 0;
            c->busy = true;
            c->due = rate > 0 ? due : now_s();
            idle--;
            asked++;
            send_more(c);
        }
        double next = start + (double)asked / (rate > 0 ? rate : 1);
        double left = idle && rate > 0 && next < end ? next - now_s() : 0.1;
        struct timespec wait = {.tv_nsec = left > 0 ? (long)(left * 1e9) : 0};
        int n = epoll_pwait2(epoll, events, 256, &wait, NULL);
        for (int k = 0; k < n; k++) {
            struct connection *c = &connections[events[k].data.u32];
            if (!c->busy) continue;
            if (events[k].events & EPOLLOUT) send_more(c);
            receive_more(c);
            idle += !c->busy;
        }
    }
    report(now_s() - start);
}

/* ---- until a row can be read ---- */

static int ask(int fd, const char *message, size_t length, char *in) {
    size_t got = 0;
    if (send(fd, message, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
    do {
        ssize_t n = recv(fd, in + got, ANSWER_BYTES - got - 1, 0);
        if (n <= 0) fail("recv");
        got += (size_t)n;
        in[got] = 0;
    } while (!answer_length(in, got));
    return atoi(in + 9);
}

static void probe(const char *source, const char *table, double seconds, int every_ms) {
    int fd = connect_to_server(true);
    char message[1024], body[512], *in = malloc(ANSWER_BYTES);
    double start = now_s(), next = start;
    for (uint64_t i = 0; now_s() < start + seconds; i++) {
        struct timespec rest = {.tv_nsec = 500000};
        while (now_s() < next) nanosleep(&rest, NULL);
        int n = sprintf(body, "{\"event_id\":\"p-%llu\",\"card\":\"probe-%llu\",\"amount\":1,\"ts\":\"2026-01-31T12:00:00\",\"note\":\"\"}", (unsigned long long)i,
                        (unsigned long long)i);
        int length = sprintf(message, "POST /v1/sources/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", source, n, body);
        double sent = now_s();
        if (ask(fd, message, (size_t)length, in) != 200) refused++;
        length = sprintf(message, "GET /v1/tables/%s/rows/probe-%llu HTTP/1.1\r\nHost: localhost\r\n\r\n", table, (unsigned long long)i);
        while (ask(fd, message, (size_t)length, in) != 200) {
            if (now_s() > sent + 10) fail("a row does not come");
            nanosleep(&rest, NULL);
        }
        note(now_s() - sent);
        next = now_s() + every_ms / 1e3 * 2 * rand() / RAND_MAX; /* not in step with the steps */
    }
    report(now_s() - start);
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fputs("usage: see the top of http_bench.c\n", stderr);
        return 2;
    }
    port = atoi(argv[2]);
    if (strcmp(argv[1], "probe") == 0)
        probe(argv[3], argv[4], atof(argv[5]), atoi(argv[6]));
    else if (argc >= 8)
        load(strcmp(argv[1], "post") == 0, argv[3], atof(argv[4]), atof(argv[5]), atoi(argv[6]), atoi(argv[7]), argc > 8 ? atoi(argv[8]) : 0);
    return 0;
}
