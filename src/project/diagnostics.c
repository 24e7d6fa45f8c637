/* Findings of check. */
#include "project/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* nobody reads more, and a file that is no SQL at all would give one a word */
#define FINDINGS_MAX 1000

void leat_diagnose(struct leat_diagnostics *diags, struct leat_place place, bool warning, const char *suggestion,
                   const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char text[LEAT_ERROR_TEXT_SIZE];
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (diags->count > FINDINGS_MAX)
        return;
    if (diags->count == FINDINGS_MAX) {
        snprintf(text, sizeof text, "more than %d findings; the rest is left out", FINDINGS_MAX);
        suggestion = NULL;
        warning = false;
    }
    diags->items = leat_realloc(diags->items, (diags->count + 1) * sizeof *diags->items);
    place.file = place.file ? leat_strdup(place.file) : NULL;
    diags->items[diags->count++] = (struct leat_diagnostic){
        .place = place,
        .message = leat_strdup(text),
        .suggestion = suggestion ? leat_strdup(suggestion) : NULL,
        .warning = warning,
    };
}

/* In parse.h: forgets the findings from number `count` on. */
void leat_diagnostics_truncate(struct leat_diagnostics *diags, size_t count) {
    while (diags->count > count) {
        struct leat_diagnostic *item = &diags->items[--diags->count];
        free((char *)item->place.file); /* our copy, see leat_diagnose */
        free(item->message);
        free(item->suggestion);
    }
}

void leat_diagnostics_deinit(struct leat_diagnostics *diags) {
    leat_diagnostics_truncate(diags, 0);
    free(diags->items);
    *diags = (struct leat_diagnostics){0};
}

static int compare_places(const struct leat_place *a, const struct leat_place *b) {
    int files = strcmp(a->file ? a->file : "", b->file ? b->file : "");
    if (files)
        return files;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return (a->column > b->column) - (a->column < b->column);
}

void leat_diagnostics_sort(struct leat_diagnostics *diags) {
    /* insertion: stable, and the list is nearly sorted */
    for (size_t i = 1; i < diags->count; i++) {
        struct leat_diagnostic item = diags->items[i];
        size_t j = i;
        for (; j > 0 && compare_places(&diags->items[j - 1].place, &item.place) > 0; j--)
            diags->items[j] = diags->items[j - 1];
        diags->items[j] = item;
    }
}

size_t leat_diagnostics_errors(const struct leat_diagnostics *diags) {
    size_t count = 0;
    for (size_t i = 0; i < diags->count; i++)
        count += !diags->items[i].warning;
    return count;
}

void leat_diagnostics_print(const struct leat_diagnostics *diags, struct leat_buffer *out) {
    for (size_t i = 0; i < diags->count; i++) {
        const struct leat_diagnostic *d = &diags->items[i];
        if (d->place.file && d->place.line)
            leat_putf(out, "%s:%d:%d: ", d->place.file, d->place.line, d->place.column);
        else if (d->place.file)
            leat_putf(out, "%s: ", d->place.file);
        leat_putf(out, "%s: %s\n", d->warning ? "warning" : "error", d->message);
        if (d->suggestion)
            leat_putf(out, "  hint: %s\n", d->suggestion);
    }
}
