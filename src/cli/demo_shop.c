#include "cli/demo_shop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <microhttpd.h>
#include <netinet/in.h>

enum { LINE_BYTES = 4096, PIECE_BYTES = 1 << 16, FIRST_BYTES = 8192, IDS_MAX = 1 << 16, ID_BYTES = 64, BODY_BYTES_MAX = 1 << 20 };

/* ---- the day ---------------------------------------------------------------------------------------------------------------- */

struct lines { /* of one file */
    struct leat_file *from, *to;
    char piece[PIECE_BYTES];
    uint64_t read_at;
    size_t have, at;
    char line[LINE_BYTES]; size_t length; /* the one that is next; 0: the end */
};
struct demo_day {
    struct leat_io *io;
    struct lines orders, payments;
    uint64_t left;
    bool other_orders;
    char now[32]; /* the latest event time, as in the file: ISO 8601 in UTC is ordered like its text */
};

static enum leat_status read_line(struct demo_day *day, struct lines *f, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    f->length = 0;
    for (;;) {
        if (f->at == f->have) {
            size_t got = 0;
            st = day->io->ops->read_at(f->from, f->read_at, f->piece, sizeof f->piece, &got, err);
            if (st != LEAT_OK || !got) return st;
            f->read_at += got;
            f->have = got;
            f->at = 0;
        }
        char c = f->piece[f->at++];
        if (f->length < sizeof f->line - 1) f->line[f->length++] = c;
        if (c == '\n') break;
    }
    f->line[f->length] = 0;
    char *id = day->other_orders ? strstr(f->line, "\"order_id\":1") : NULL;
    if (id) id[sizeof "\"order_id\":" - 1] = '2';
    return st;
}

static bool event_time(const struct lines *f, char out[32]) {
    static const char KEY[] = "\"event_time\":\"20";
    const char *at = strstr(f->line, KEY);
    size_t n = at ? strcspn(at + sizeof KEY - 3, "\"") : 0;
    if (n < 19 || n > 30) return false;
    memcpy(out, at + sizeof KEY - 3, n);
    out[n] = 0;
    return true;
}

static enum leat_status open_lines(struct demo_day *day, struct lines *f, const char *from_dir, const char *to_dir, const char *name, struct leat_error *err) {
    char *from = leat_asprintf("%s/%s", from_dir, name), *to = leat_asprintf("%s/%s", to_dir, name);
    enum leat_status st = day->io->ops->open(day->io, from, LEAT_OPEN_READ, &f->from, err);
    if (st == LEAT_OK) st = day->io->ops->open(day->io, to, LEAT_OPEN_APPEND, &f->to, err);
    free(from);
    free(to);
    return st;
}

static enum leat_status rewind_lines(struct demo_day *day, struct lines *f, struct leat_error *err) {
    f->read_at = 0;
    f->have = f->at = 0;
    return read_line(day, f, err);
}

enum leat_status demo_day_open(struct leat_env *env, const char *from_dir, const char *to_dir, bool other_orders, struct demo_day **out, struct leat_error *err) {
    struct demo_day *day = leat_alloc(sizeof *day);
    day->io = env->io;
    day->other_orders = other_orders;
    enum leat_status st = open_lines(day, &day->orders, from_dir, to_dir, "order_events.ndjson", err);
    if (st == LEAT_OK) st = open_lines(day, &day->payments, from_dir, to_dir, "payments.ndjson", err);
    if (st == LEAT_OK) st = read_line(day, &day->orders, err);
    while (st == LEAT_OK && day->orders.length) {
        day->left++;
        st = read_line(day, &day->orders, err);
    }
    if (st == LEAT_OK) st = rewind_lines(day, &day->orders, err);
    if (st == LEAT_OK) st = rewind_lines(day, &day->payments, err);
    if (st != LEAT_OK) demo_day_close(day);
    if (st == LEAT_OK) *out = day;
    return st;
}

void demo_day_close(struct demo_day *day) {
    if (!day) return;
    struct leat_file *files[] = {day->orders.from, day->orders.to, day->payments.from, day->payments.to};
    for (size_t i = 0; i < 4; i++)
        if (files[i]) day->io->ops->close(files[i]);
    free(day);
}

uint64_t demo_day_left(const struct demo_day *day) {
    return day->left;
}

enum leat_status demo_day_arrive(struct demo_day *day, uint64_t lines, struct leat_error *err) {
    struct leat_buffer text = {0};
    char time[32];
    enum leat_status st = LEAT_OK;
    for (; st == LEAT_OK && lines && day->orders.length; lines--) {
        leat_putn(&text, day->orders.line, day->orders.length);
        if (event_time(&day->orders, time) && strcmp(time, day->now) > 0) memcpy(day->now, time, sizeof time);
        day->left--;
        st = read_line(day, &day->orders, err);
    }
    if (st == LEAT_OK && text.length) st = day->io->ops->write(day->orders.to, text.data, text.length, err);
    leat_buffer_reset(&text);
    while (st == LEAT_OK && day->payments.length && (!day->left || (event_time(&day->payments, time) && strcmp(time, day->now) <= 0))) {
        leat_putn(&text, day->payments.line, day->payments.length);
        st = read_line(day, &day->payments, err);
    }
    if (st == LEAT_OK && text.length) st = day->io->ops->write(day->payments.to, text.data, text.length, err);
    leat_buffer_deinit(&text);
    return st;
}

/* ---- the fraud desk ------------------------------------------------------------------------------------------------------------ */

struct demo_desk {
    struct MHD_Daemon *daemon;
    unsigned port;
    pthread_mutex_t lock;
    uint64_t count, ids;
    char (*seen)[ID_BYTES];
    struct leat_buffer first;
};

static enum MHD_Result put_header(void *text, enum MHD_ValueKind kind, const char *key, const char *value) {
    (void)kind;
    leat_putf(text, "    %s: %s\n", key, value ? value : "");
    return MHD_YES;
}

static void take(struct demo_desk *desk, struct MHD_Connection *connection, const char *url, const struct leat_buffer *body) {
    const char *id = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Idempotency-Key");
    bool known = !id;
    pthread_mutex_lock(&desk->lock);
    for (uint64_t i = 0; !known && i < desk->ids; i++) known = strncmp(desk->seen[i], id, ID_BYTES - 1) == 0;
    if (!known && desk->ids < IDS_MAX) snprintf(desk->seen[desk->ids++], ID_BYTES, "%s", id);
    if (desk->count++ == 0) {
        leat_putf(&desk->first, "    POST %s HTTP/1.1\n", url);
        MHD_get_connection_values(connection, MHD_HEADER_KIND, put_header, &desk->first);
        leat_putf(&desk->first, "\n    %s\n", body->data ? body->data : "");
    }
    pthread_mutex_unlock(&desk->lock);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *data,
                              size_t *size, void **request) {
    struct leat_buffer *body = *request;
    (void)method, (void)version;
    if (!body) {
        *request = leat_alloc(sizeof *body);
        return MHD_YES;
    }
    if (*size) {
        if (body->length + *size > BODY_BYTES_MAX) return MHD_NO;
        leat_putn(body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    take(context, connection, url, body);
    struct MHD_Response *answer = MHD_create_response_from_buffer(0, (void *)(uintptr_t)"", MHD_RESPMEM_PERSISTENT);
    enum MHD_Result done = MHD_queue_response(connection, 204, answer);
    MHD_destroy_response(answer);
    return done;
}

static void ended(void *context, struct MHD_Connection *connection, void **request, enum MHD_RequestTerminationCode why) {
    (void)context, (void)connection, (void)why;
    if (*request) leat_buffer_deinit(*request);
    free(*request);
    *request = NULL;
}

enum leat_status demo_desk_open(struct demo_desk **out, struct leat_error *err) {
    struct demo_desk *desk = leat_alloc(sizeof *desk);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pthread_mutex_init(&desk->lock, NULL);
    desk->seen = leat_alloc(sizeof *desk->seen * IDS_MAX);
    desk->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL, handle, desk, MHD_OPTION_SOCK_ADDR, &here,
                                    MHD_OPTION_NOTIFY_COMPLETED, ended, NULL, MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = desk->daemon ? MHD_get_daemon_info(desk->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!info) {
        demo_desk_close(desk);
        return leat_fail(err, LEAT_IO, "the fraud desk cannot listen on this machine");
    }
    desk->port = info->port;
    *out = desk;
    return LEAT_OK;
}

void demo_desk_close(struct demo_desk *desk) {
    if (!desk) return;
    if (desk->daemon) MHD_stop_daemon(desk->daemon);
    pthread_mutex_destroy(&desk->lock);
    leat_buffer_deinit(&desk->first);
    free(desk->seen);
    free(desk);
}

unsigned demo_desk_port(const struct demo_desk *desk) {
    return desk->port;
}

static uint64_t locked(struct demo_desk *desk, const uint64_t *value) {
    pthread_mutex_lock(&desk->lock);
    uint64_t now = *value;
    pthread_mutex_unlock(&desk->lock);
    return now;
}
uint64_t demo_desk_count(struct demo_desk *desk) {
    return locked(desk, &desk->count);
}
uint64_t demo_desk_ids(struct demo_desk *desk) {
    return locked(desk, &desk->ids);
}
void demo_desk_print_first(struct demo_desk *desk) {
    pthread_mutex_lock(&desk->lock);
    fputs(desk->first.data ? desk->first.data : "    nothing yet\n", stdout);
    pthread_mutex_unlock(&desk->lock);
}

/* ---- requests -------------------------------------------------------------------------------------------------------------------- */

static size_t add_answer(char *bytes, size_t size, size_t n, void *out) {
    leat_putn(out, bytes, size * n);
    return size * n;
}

enum leat_status demo_http(const char *url, const char *body, struct leat_buffer *out, struct leat_error *err) {
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = body ? curl_slist_append(NULL, "Content-Type: text/plain") : NULL;
    long code = 0;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, add_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, out);
    if (body) curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    if (headers) curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    CURLcode done = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    if (done != CURLE_OK) return leat_fail(err, LEAT_IO, "%s: %s", url, curl_easy_strerror(done));
    if (code != 200) return leat_fail(err, LEAT_INVALID, "%s: %ld %.300s", url, code, out->data ? out->data : "");
    return LEAT_OK;
}
