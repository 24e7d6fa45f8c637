/* One option table per component (connector, table format, command, settings). The parser, --help, the reference
 * documentation and the suggestions for misspelt names all come from the table. Depends on mem and status only. */
#ifndef LEAT_BASE_OPTIONS_H
#define LEAT_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mem.h"
#include "base/status.h"

enum leat_option_type {
    LEAT_OPTION_INT,      /* decimal, with sign */
    LEAT_OPTION_REAL,     /* "2.5", finite */
    LEAT_OPTION_SIZE,     /* bytes: "4096", "64 MiB" (powers of 1024), "10 MB" (powers of 1000) */
    LEAT_OPTION_INTERVAL, /* microseconds: "90 seconds", "1h 30m", "INTERVAL '1' HOUR"; no months or years */
    LEAT_OPTION_BOOL,     /* true/false, on/off, yes/no, 1/0 */
    LEAT_OPTION_ENUM,     /* one of `choices`, any case */
    LEAT_OPTION_TEXT,
    LEAT_OPTION_PATH,     /* not empty */
    LEAT_OPTION_SECRET,   /* as TEXT, but its value never appears in an error, in help or in a log */
};
struct leat_option_spec {
    const char *name;
    enum leat_option_type type;
    const char *unit;            /* INT, REAL: what is counted ("rows"), for people; else NULL */
    int64_t min, max;            /* INT, REAL, SIZE in bytes, INTERVAL in microseconds; both 0: any (SIZE, INTERVAL: not negative);
                                    max < min: no maximum */
    const char *default_text;    /* as a user would write it; NULL: none */
    bool required;
    const char *const *choices;  /* ENUM: NULL-terminated, in the order of the C enum */
    const char *prose;           /* one or two sentences, ending with a full stop */
};
/* number: INT, SIZE in bytes, INTERVAL in microseconds, BOOL 0 or 1, ENUM the index in choices.
 * text: TEXT, PATH, SECRET: the text given (borrowed); ENUM: the choice as the table spells it; others: NULL. */
struct leat_option_value {
    int64_t number;
    double real; /* REAL */
    const char *text;
};

/* The spec of that name, compared without case; else of the family that it belongs to ("properties.*"); NULL: unknown. */
const struct leat_option_spec *leat_option_find(const struct leat_option_spec *specs, size_t count, const char *name);
/* INVALID "unknown option 'x'; did you mean 'y'?"; err->text is one line. The nearest name alone: leat_option_nearest (NULL: none). */
enum leat_status leat_option_unknown(const struct leat_option_spec *specs, size_t count, const char *name, struct leat_error *);
const char *leat_option_nearest(const struct leat_option_spec *specs, size_t count, const char *name);
/* INVALID with the option's name, what is wrong with the value and what is right. */
enum leat_status leat_option_parse(const struct leat_option_spec *, const char *text, struct leat_option_value *out, struct leat_error *) LEAT_MUST;
/* The default's value; zero number and NULL text without one. Aborts on a default the table itself forbids (tests parse all). */
struct leat_option_value leat_option_default(const struct leat_option_spec *);

/* Values by themselves, for statements: FRESHNESS = INTERVAL '5' SECOND and the like. INVALID without the option's name. */
enum leat_status leat_parse_interval(const char *text, int64_t *out_us, struct leat_error *) LEAT_MUST;
enum leat_status leat_parse_size(const char *text, int64_t *out_bytes, struct leat_error *) LEAT_MUST;
enum leat_status leat_parse_int(const char *text, int64_t *out, struct leat_error *) LEAT_MUST;
/* "5 minutes", "1500 ms"; "64 MiB": the largest unit that divides; what the parsers above read back. */
void leat_put_interval(struct leat_buffer *, int64_t us);
void leat_put_size(struct leat_buffer *, int64_t bytes);

/* The table as text for a terminal (as the command line spells options), or as a markdown table. */
void leat_options_help(const struct leat_option_spec *specs, size_t count, struct leat_buffer *out);
void leat_options_markdown(const struct leat_option_spec *specs, size_t count, struct leat_buffer *out);

/* The candidate nearest to `name` by Damerau-Levenshtein distance (adjacent swaps count one), without case; NULL when none
 * is near enough to be what was meant (a third of the letters, or a common beginning). NULL candidates are skipped. */
const char *leat_nearest(const char *name, const char *const *candidates, size_t n);
/* That distance itself, without case; names over 64 bytes give SIZE_MAX. */
size_t leat_edit_distance(const char *a, const char *b);

#endif
