/* The `webhook` sink: one HTTP POST a change, as Standard Webhooks describes it (standardwebhooks.com: webhook-id, -timestamp, -signature).
 *
 * Several requests are under way at once, of one key never more than one, in order. What the receiver took is remembered until everything
 * before it is done, so a change that keeps failing does not send those behind it twice. Depends on libcurl and OpenSSL's HMAC. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "connect/address.h"
#include "connect/sink.h"
#include "data/value_text.h"

enum { FAILURES_MAX = 3, POLL_MS = 100, PATIENCE_MS = 1000, ANSWER_BYTES = 200, LOOK_AHEAD = 256 };

static const struct leat_option_spec options[] = {
    {.name = "url", .type = LEAT_OPTION_SECRET, .required = true, .prose = "Where to, `http://` or `https://`; it is shown without its query."},
    {.name = "secret",
     .type = LEAT_OPTION_SECRET,
     .prose = "Signs each request: `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over id, timestamp and body joined by dots. "
              "A secret that begins with `whsec_` is base64 behind it, as Standard Webhooks has it."},
    {.name = "authorization", .type = LEAT_OPTION_SECRET, .prose = "The header `Authorization`, such as `Bearer ${TOKEN}`."},
    {.name = "timeout",
     .type = LEAT_OPTION_INTERVAL,
     .min = 100000,
     .max = INT64_C(600000000),
     .default_text = "10 seconds",
     .prose = "A request that has no whole answer by then has failed."},
    {.name = "in_flight",
     .type = LEAT_OPTION_INT,
     .unit = "requests",
     .min = 1,
     .max = 100,
     .default_text = "8",
     .prose = "So many requests at once; those of one key one after the other. A table without a key has no order between its rows."},
    {.name = "allow_private",
     .type = LEAT_OPTION_BOOL,
     .default_text = "false",
     .prose = "Also to addresses of this machine and of private networks. The address that is connected to decides, whatever its name."},
    {.name = "ca_file", .type = LEAT_OPTION_PATH, .prose = "Certificates (PEM) to trust instead of the system's."},
};

struct request {
    CURL *easy;
    size_t effect;
    bool busy;
    struct curl_slist *headers;
    char answer[ANSWER_BYTES + 1]; size_t answer_length;
    char problem[CURL_ERROR_SIZE];
    bool refused_address;
};
struct failure { size_t effect; enum leat_status status; bool refused, unreachable; char text[400]; };
struct webhook {
    struct leat_sink base;
    const struct leat_sink_context *context;
    CURLM *multi;
    struct request *requests; size_t in_flight;
    char *shown_url;
    unsigned char *secret; size_t secret_bytes;
    uint64_t *taken; size_t taken_count, taken_capacity; /* sequences that the receiver has, not yet confirmed to the outbox; ascending */
    int64_t not_before_us;         /* Retry-After, monotonic */
};

/* ---- opening ----------------------------------------------------------------------------------------------------------- */

static void start_curl(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) leat_panic("libcurl cannot be started");
}

/* The URL without user, password and query: they may be secrets. malloc'd. */
static char *shown(const char *url) {
    const char *host = strstr(url, "://"), *end;
    if (!host) return leat_strdup("?");
    host += 3;
    end = host + strcspn(host, "?#");
    for (const char *at = host; at < host + strcspn(host, "/?#"); at++)
        if (*at == '@') return leat_asprintf("%.*s%.*s", (int)(host - url), url, (int)(end - at - 1), at + 1);
    return leat_strndup(url, (size_t)(end - url));
}

static void webhook_check(const struct leat_sink_def *def, const struct leat_table *table, const struct leat_schema *schema,
                          struct leat_diagnostics *diags) {
    const char *url = leat_sink_option(def, "url"), *secret = leat_sink_option(def, "secret");
    (void)table, (void)schema;
    CURLU *parsed = curl_url();
    bool good = parsed && url && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK;
    if (!good || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0))
        leat_diagnose(diags, def->place, false, NULL, "sink '%s': the url does not begin with http:// or https://, or is no url", def->name);
    if (secret && strlen(secret) < 8) leat_diagnose(diags, def->place, false, NULL, "sink '%s': a secret has at least 8 characters", def->name);
    curl_url_cleanup(parsed);
}

static void take_secret(struct webhook *hook, const char *text) {
    static const char prefix[] = "whsec_";
    size_t length = strlen(text);
    hook->secret = leat_alloc(length + 4);
    memcpy(hook->secret, text, length);
    hook->secret_bytes = length;
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) return;
    const char *digits = text + sizeof prefix - 1;
    size_t n = strlen(digits), padding = n && digits[n - 1] == '=' ? 1u + (n > 1 && digits[n - 2] == '=') : 0;
    int bytes = EVP_DecodeBlock(hook->secret, (const unsigned char *)digits, (int)n);
    if (bytes > 0) hook->secret_bytes = (size_t)bytes - padding; /* else: it only looks like one, and is taken as it is */
    if (bytes <= 0) memcpy(hook->secret, text, length);
}

static enum leat_status webhook_open(const struct leat_sink_context *context, struct leat_sink **out, struct leat_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    struct webhook *hook = leat_alloc(sizeof *hook);
    hook->base.ops = &leat_sink_webhook;
    hook->context = context;
    hook->multi = curl_multi_init();
    hook->in_flight = (size_t)leat_sink_option_int(context->def, "in_flight", 1);
    hook->requests = leat_alloc(hook->in_flight * sizeof *hook->requests);
    hook->shown_url = shown(leat_sink_option(context->def, "url"));
    const char *secret = leat_sink_option(context->def, "secret");
    if (secret) take_secret(hook, secret);
    *out = &hook->base;
    return hook->multi ? LEAT_OK : leat_fail(err, LEAT_NO_MEMORY, "libcurl cannot be started");
}

static void webhook_close(struct leat_sink *base) {
    struct webhook *hook = (struct webhook *)base;
    for (size_t i = 0; i < hook->in_flight; i++)
        if (hook->requests[i].easy) curl_easy_cleanup(hook->requests[i].easy);
    curl_multi_cleanup(hook->multi);
    if (hook->secret) OPENSSL_cleanse(hook->secret, hook->secret_bytes);
    free(hook->secret);
    free(hook->requests);
    free(hook->shown_url);
    free(hook->taken);
    free(hook);
}

static enum leat_status webhook_encode(struct leat_sink *base, const struct leat_effect_row *effect, struct leat_buffer *payload,
                                       struct leat_error *err) {
    (void)err;
    leat_effect_put_json(((struct webhook *)base)->context, effect, payload);
    return LEAT_OK;
}

/* ---- what the receiver has --------------------------------------------------------------------------------------------- */

static size_t taken_at(const struct webhook *hook, uint64_t sequence) {
    size_t low = 0, high = hook->taken_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (hook->taken[middle] < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_taken(const struct webhook *hook, uint64_t sequence) {
    size_t at = taken_at(hook, sequence);
    return at < hook->taken_count && hook->taken[at] == sequence;
}

static void take(struct webhook *hook, uint64_t sequence) {
    size_t at = taken_at(hook, sequence);
    if (hook->taken_count == hook->taken_capacity) {
        hook->taken_capacity = hook->taken_capacity ? 2 * hook->taken_capacity : 64;
        hook->taken = leat_realloc(hook->taken, hook->taken_capacity * sizeof *hook->taken);
    }
    memmove(hook->taken + at + 1, hook->taken + at, (hook->taken_count - at) * sizeof *hook->taken);
    hook->taken[at] = sequence;
    hook->taken_count++;
}

/* Effects from the first on that are done; they are forgotten. */
static size_t settle(struct webhook *hook, const struct leat_effect *effects, size_t count) {
    size_t done = 0;
    while (done < count && is_taken(hook, effects[done].sequence)) done++;
    if (!done) return 0;
    size_t upto = taken_at(hook, effects[done - 1].sequence) + 1;
    memmove(hook->taken, hook->taken + upto, (hook->taken_count - upto) * sizeof *hook->taken);
    hook->taken_count -= upto;
    return done;
}

/* ---- a request --------------------------------------------------------------------------------------------------------- */

static size_t keep_answer(char *bytes, size_t size, size_t n, void *context) {
    struct request *r = context;
    size_t room = ANSWER_BYTES - r->answer_length, keep = size * n < room ? size * n : room;
    memcpy(r->answer + r->answer_length, bytes, keep);
    r->answer_length += keep;
    return size * n;
}

/* The address itself decides, after names and whatever a name server says. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    struct request *r = context;
    (void)purpose;
    if (leat_address_is_private(&address->addr)) {
        r->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void add_header(struct request *r, const char *name, const char *value) {
    char *line = leat_asprintf("%s: %s", name, value);
    struct curl_slist *list = curl_slist_append(r->headers, line);
    if (!list) leat_panic("out of memory");
    r->headers = list;
    free(line);
}

static void sign(struct webhook *hook, struct request *r, const char *id, const char *time, const struct leat_effect *effect) {
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    struct leat_buffer text = {0}, header = {0};
    leat_putf(&text, "%s.%s.", id, time);
    leat_putn(&text, effect->payload, effect->payload_bytes);
    if (!HMAC(EVP_sha256(), hook->secret, (int)hook->secret_bytes, (const unsigned char *)text.data, text.length, mac, &length))
        leat_panic("HMAC-SHA256 failed");
    leat_put(&header, "v1,");
    leat_put_base64(&header, mac, length);
    add_header(r, "webhook-signature", header.data);
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&header);
}

static void put_headers(struct webhook *hook, struct request *r, const struct leat_effect *effect) {
    const struct leat_sink_def *def = hook->context->def;
    struct leat_clock *clock = hook->context->env->clock;
    char *id = leat_asprintf("%s-%llu", hook->context->identity, (unsigned long long)effect->sequence);
    char *time = leat_asprintf("%lld", (long long)(clock->now_us(clock) / 1000000));
    curl_slist_free_all(r->headers);
    r->headers = NULL;
    add_header(r, "Content-Type", "application/json");
    add_header(r, "Idempotency-Key", id);
    add_header(r, "webhook-id", id);
    add_header(r, "webhook-timestamp", time);
    add_header(r, "Expect", ""); /* no waiting for 100 Continue */
    if (hook->secret) sign(hook, r, id, time, effect);
    if (leat_sink_option(def, "authorization")) add_header(r, "Authorization", leat_sink_option(def, "authorization"));
    free(id);
    free(time);
}

static void set_up(struct webhook *hook, struct request *r, const struct leat_effect *effect) {
    const struct leat_sink_def *def = hook->context->def;
    const char *ca = leat_sink_option(def, "ca_file");
    if (!r->easy && !(r->easy = curl_easy_init())) leat_panic("out of memory");
    curl_easy_reset(r->easy);
    r->problem[0] = 0;
    r->answer_length = 0;
    r->refused_address = false;
    put_headers(hook, r, effect);
    curl_easy_setopt(r->easy, CURLOPT_URL, leat_sink_option(def, "url"));
    curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(r->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(r->easy, CURLOPT_PROXY, ""); /* a proxy of the environment would hide the address */
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "leat/" LEAT_VERSION);
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)effect->payload_bytes);
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, effect->payload);
    curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)(leat_sink_option_int(def, "timeout", 10000000) / 1000));
    curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->problem);
    curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
    if (ca) curl_easy_setopt(r->easy, CURLOPT_CAINFO, ca);
    if (leat_sink_option_int(def, "allow_private", 0)) return;
    curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETDATA, r);
}

/* ---- what came of it --------------------------------------------------------------------------------------------------- */

static void note_failure(const struct webhook *hook, const struct request *r, struct failure *f, enum leat_status status, bool refused,
                         const char *what) {
    f->effect = r->effect;
    f->status = status;
    f->refused = refused;
    f->unreachable = false;
    snprintf(f->text, sizeof f->text, "%s: %s", hook->shown_url, what);
    for (char *c = f->text; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
}

static void wait_as_told(struct webhook *hook, CURL *easy) {
    struct leat_clock *clock = hook->context->env->clock;
    int64_t longest = leat_sink_option_int(hook->context->def, "retry_max", 60000000);
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0) return;
    int64_t wait = seconds < longest / 1000000 ? (int64_t)seconds * 1000000 : longest, until = clock->monotonic_us(clock) + wait;
    if (until > hook->not_before_us) hook->not_before_us = until;
}

/* 2xx: done. The event is at fault: 4xx but for those that mean "later" (408, 425, 429) and those that are about the sender (401, 403, 407). */
static bool judge(struct webhook *hook, struct request *r, CURLcode code, struct failure *f) {
    long status = 0;
    char text[ANSWER_BYTES + 80];
    if (r->refused_address) {
        note_failure(hook, r, f, LEAT_IO, false, "the address is of this machine or of a private network; say allow_private = true to send there");
        f->unreachable = true;
        return false;
    }
    if (code != CURLE_OK) {
        note_failure(hook, r, f, LEAT_IO, false, r->problem[0] ? r->problem : curl_easy_strerror(code));
        f->unreachable = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_OPERATION_TIMEDOUT ||
                         code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION;
        return false;
    }
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) return true;
    r->answer[r->answer_length] = 0;
    if (status >= 300 && status < 400)
        snprintf(text, sizeof text, "answered %ld; redirects are not followed: say the new url", status);
    else
        snprintf(text, sizeof text, "answered %ld: %s", status, r->answer);
    bool later = status == 408 || status == 425 || status == 429 || status >= 500;
    bool sender = status == 401 || status == 403 || status == 407 || status < 400;
    if (later) wait_as_told(hook, r->easy);
    note_failure(hook, r, f, later || sender ? LEAT_IO : LEAT_INVALID, later, text);
    f->unreachable = sender; /* all would be answered so */
    return false;
}

/* ---- a round ----------------------------------------------------------------------------------------------------------- */

enum state { NEW, UNDER_WAY, DONE, FAILED };
struct round {
    struct webhook *hook;
    const struct leat_effect *effects; size_t count;
    unsigned char *states; size_t first_new; /* per effect; all before are not NEW */
    size_t running;
    struct failure failures[FAILURES_MAX]; size_t failure_count;
    bool unreachable;
};

/* Is one of the same key under way or has one failed? */
static bool must_wait(const struct round *round, const struct leat_effect *effect) {
    if (!effect->key_bytes) return false;
    for (size_t i = 0; i < round->hook->in_flight + round->failure_count; i++) {
        bool failed = i >= round->hook->in_flight;
        const struct request *r = failed ? NULL : &round->hook->requests[i];
        if (r && !r->busy) continue;
        const struct leat_effect *other = &round->effects[r ? r->effect : round->failures[i - round->hook->in_flight].effect];
        if (other->key_bytes == effect->key_bytes && memcmp(other->key, effect->key, effect->key_bytes) == 0) return true;
    }
    return false;
}

/* The first effect that may be sent now; of one key they are looked at, and so sent, in order. SIZE_MAX: none. */
static size_t next_effect(struct round *round) {
    while (round->first_new < round->count && round->states[round->first_new] != NEW) round->first_new++;
    for (size_t i = round->first_new; i < round->count && i < round->first_new + LOOK_AHEAD; i++)
        if (round->states[i] == NEW && !must_wait(round, &round->effects[i])) return i;
    return SIZE_MAX;
}

static void begin_requests(struct round *round) {
    struct webhook *hook = round->hook;
    for (size_t i = 0; i < hook->in_flight && !round->unreachable && round->failure_count < FAILURES_MAX; i++) {
        struct request *r = &hook->requests[i];
        size_t effect = r->busy ? SIZE_MAX : next_effect(round);
        if (r->busy) continue;
        if (effect == SIZE_MAX) return;
        r->effect = effect;
        r->busy = true;
        set_up(hook, r, &round->effects[effect]);
        if (curl_multi_add_handle(hook->multi, r->easy) != CURLM_OK) leat_panic("libcurl: a request cannot be begun");
        round->states[effect] = UNDER_WAY;
        round->running++;
    }
}

static void end_request(struct round *round, struct request *r, bool judged, CURLcode code) {
    struct failure failure;
    bool done = judged && judge(round->hook, r, code, &failure);
    curl_multi_remove_handle(round->hook->multi, r->easy);
    curl_slist_free_all(r->headers);
    r->headers = NULL;
    r->busy = false;
    round->running--;
    round->states[r->effect] = done ? DONE : FAILED;
    if (done) take(round->hook, round->effects[r->effect].sequence);
    if (done || !judged) return;
    round->unreachable |= failure.unreachable;
    if (round->failure_count < FAILURES_MAX || failure.effect < round->failures[0].effect) {
        if (round->failure_count == FAILURES_MAX) round->failure_count--;
        round->failures[round->failure_count++] = failure;
    }
}

static void take_answers(struct round *round) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(round->hook->multi, &left))) {
        struct request *r;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &r);
        end_request(round, r, true, code);
    }
}

static void exchange(struct round *round, const atomic_int *stop) {
    struct webhook *hook = round->hook;
    struct leat_clock *clock = hook->context->env->clock;
    int64_t until = INT64_MAX; /* stopped: none is begun any more, and those under way get a little time */
    begin_requests(round);
    while (round->running && clock->monotonic_us(clock) < until) {
        int running;
        curl_multi_perform(hook->multi, &running);
        take_answers(round);
        if (!atomic_load(stop))
            begin_requests(round);
        else if (until == INT64_MAX)
            until = clock->monotonic_us(clock) + PATIENCE_MS * 1000;
        if (round->running) curl_multi_poll(hook->multi, NULL, 0, POLL_MS, NULL);
    }
    for (size_t i = 0; i < hook->in_flight; i++) /* whether the receiver has them is not known */
        if (hook->requests[i].busy) end_request(round, &hook->requests[i], false, CURLE_OK);
}

/* Retry-After. */
static void wait_until_told(const struct webhook *hook, const atomic_int *stop) {
    struct leat_clock *clock = hook->context->env->clock;
    while (!atomic_load(stop) && clock->monotonic_us(clock) < hook->not_before_us) clock->sleep_until(clock, clock->monotonic_us(clock) + POLL_MS * 1000);
}

static const struct failure *failure_at(const struct round *round, size_t effect) {
    for (size_t i = 0; i < round->failure_count; i++)
        if (round->failures[i].effect == effect) return &round->failures[i];
    return NULL;
}

static enum leat_status webhook_deliver(struct leat_sink *base, const struct leat_effect *effects, size_t count, const atomic_int *stop,
                                        size_t *confirmed, struct leat_error *err) {
    struct webhook *hook = (struct webhook *)base;
    struct round round = {.hook = hook, .effects = effects, .count = count, .states = leat_alloc(count + 1)};
    wait_until_told(hook, stop);
    for (size_t i = 0; i < count; i++)
        if (is_taken(hook, effects[i].sequence)) round.states[i] = DONE;
    if (!atomic_load(stop)) exchange(&round, stop);
    free(round.states);
    *confirmed = settle(hook, effects, count);
    const struct failure *f = failure_at(&round, *confirmed);
    for (size_t i = 0; i < round.failure_count && !f && *confirmed < count; i++) /* that nothing can be reached is true of the first, too */
        if (round.failures[i].unreachable) f = &round.failures[i];
    if (!f) return LEAT_OK;
    leat_fail(err, f->status, "sink \"%s\": %s", hook->context->def->name, f->text);
    err->retriable = f->status != LEAT_INVALID;
    err->bad_data = f->refused;
    return f->status;
}

const struct leat_sink_ops leat_sink_webhook = {
    .name = "webhook",
    .what = "sends each change as an HTTP POST with a JSON body",
    .guarantee = "Each change arrives at least once, the changes of one key in their order. The same change always has the same `Idempotency-Key` "
                 "(and `webhook-id`) and the same body: whoever remembers the keys sees it once. What the receiver answers with 4xx (but 401, 403, 407, "
                 "408, 425, 429) is a dead letter at once, what it refuses otherwise after `max_tries`.",
    .shape = LEAT_SINK_EITHER,
    .starts_now = true,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .check = webhook_check,
    .open = webhook_open,
    .encode = webhook_encode,
    .deliver = webhook_deliver,
    .close = webhook_close,
};
