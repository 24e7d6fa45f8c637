#include "serve/url.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/utf8.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *leat_url_decode(const char *text, size_t length, bool plus) {
    char *out = leat_alloc(length + 1);
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < length ? hex(text[i + 1]) : -1, low = high < 0 ? -1 : hex(text[i + 2]);
            if (high < 0 || low < 0) goto bad;
            c = high << 4 | low;
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7F) goto bad;
        out[n++] = (char)c;
    }
    out[n] = 0;
    if (leat_utf8_valid(out, n)) return out;
bad:
    free(out);
    return NULL;
}

void leat_query_add(struct leat_query_string *q, const char *name, const char *value) {
    if (!value) value = "";
    if (q->count == LEAT_URL_QUERY_MAX) {
        q->problem = "too many parameters";
        return;
    }
    char *n = leat_url_decode(name, strlen(name), true), *v = leat_url_decode(value, strlen(value), true);
    if (n && v) {
        q->items[q->count++] = (struct leat_query_item){n, v};
        return;
    }
    q->problem = "a parameter that is not percent-encoded UTF-8";
    free(n);
    free(v);
}

void leat_query_deinit(struct leat_query_string *q) {
    for (size_t i = 0; i < q->count; i++) {
        free(q->items[i].name);
        free(q->items[i].value);
    }
    q->count = 0;
}

const char *leat_query_value(const struct leat_query_string *q, const char *name) {
    for (size_t i = q->count; i-- > 0;)
        if (strcmp(q->items[i].name, name) == 0) return q->items[i].value;
    return NULL;
}
