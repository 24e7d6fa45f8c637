/* Option lists: WITH (name = value, ...), SET name = value; ${NAME} from the environment. */
#include "project/parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void leat_given_deinit(struct leat_given *given) {
    free(given->name);
    free(given->text);
    *given = (struct leat_given){0};
}

void leat_given_list_deinit(struct leat_given_list *list) {
    for (size_t i = 0; i < list->count; i++)
        leat_given_deinit(&list->items[i]);
    free(list->items);
    *list = (struct leat_given_list){0};
}

/* Replaces ${NAME} by the environment's value; $${ stands for ${ itself. Reports a missing variable by its name and returns
 * NULL. Takes text over. */
static char *resolve_environment(struct leat_parser *p, size_t token, char *text, bool *secret) {
    struct leat_buffer out = {0};
    leat_put(&out, "");
    const char *at = text;
    for (const char *open; (open = strstr(at, "${"));) {
        if (open > at && open[-1] == '$') {
            leat_putn(&out, at, (size_t)(open - at) - 1);
            leat_put(&out, "${");
            at = open + 2;
            continue;
        }
        leat_putn(&out, at, (size_t)(open - at));
        const char *close = strchr(open, '}');
        size_t length = close ? (size_t)(close - open) - 2 : 0;
        if (length == 0) {
            leat_parser_error(p, token, "write ${NAME}, or $${ for the characters ${ themselves",
                              close ? "'${}' names no environment variable" : "'${' has no closing '}'");
            goto failed;
        }
        char *name = leat_strndup(open + 2, length);
        const char *value = getenv(name);
        if (!value)
            leat_parser_error(p, token, "set it before leat is started", "the environment variable '%s' is not set", name);
        free(name);
        if (!value)
            goto failed;
        leat_put(&out, value);
        *secret = true;
        at = close + 1;
    }
    leat_put(&out, at);
    free(text);
    return out.data ? out.data : leat_strdup("");
failed:
    free(text);
    leat_buffer_deinit(&out);
    return NULL;
}

bool leat_parser_value(struct leat_parser *p, struct leat_given *out) {
    size_t first = p->at;
    out->value_place = leat_parser_place(p, first);
    if (leat_parser_is(p, "INTERVAL")) {
        int64_t us;
        if (!leat_parser_interval(p, "the interval", false, &us))
            return false;
        out->text = leat_asprintf("%" PRId64 " us", us);
        return true;
    }
    switch (leat_parser_kind(p)) {
    case LEAT_TOKEN_STRING:
        out->text = leat_parser_string(p, "a value");
        if (out->text)
            out->text = resolve_environment(p, first, out->text, &out->secret);
        return out->text != NULL;
    case LEAT_TOKEN_NUMBER:
    case LEAT_TOKEN_WORD:
        out->text = leat_token_value(&p->tokens, p->at++);
        return true;
    case LEAT_TOKEN_OPERATOR:
        if ((leat_parser_is_operator(p, "-") || leat_parser_is_operator(p, "+")) && p->at + 1 < p->end &&
            p->tokens.items[p->at + 1].kind == LEAT_TOKEN_NUMBER) {
            p->at += 2;
            out->text = leat_parser_text(p, first, p->at);
            return true;
        }
        break;
    default:
        break;
    }
    return leat_parser_expected(p, "a value ('text', a number, true, false or INTERVAL ...)");
}

/* a, a.b.c, "a" or 'a.b.c' */
static char *option_name(struct leat_parser *p) {
    if (leat_parser_kind(p) == LEAT_TOKEN_STRING)
        return leat_parser_string(p, "an option's name");
    size_t first = p->at;
    char *name = leat_parser_name(p, "an option's name");
    while (name && leat_parser_accept_operator(p, ".")) {
        free(name);
        name = leat_parser_name(p, "the rest of the option's name");
        if (name) {
            free(name);
            name = leat_parser_text(p, first, p->at);
        }
    }
    return name;
}

static bool given_item(struct leat_parser *p, struct leat_given *item) {
    item->place = leat_parser_place(p, p->at);
    item->name = option_name(p);
    return item->name && leat_parser_expect_operator(p, "=") && leat_parser_value(p, item);
}

bool leat_parser_given_list(struct leat_parser *p, struct leat_given_list *out) {
    if (!leat_parser_expect_operator(p, "("))
        return false;
    if (leat_parser_accept_operator(p, ")"))
        return true;
    do {
        struct leat_given item = {0};
        bool good = given_item(p, &item);
        if (good && !leat_parser_is_operator(p, ",") && !leat_parser_is_operator(p, ")"))
            good = leat_parser_expected(p, "',' or ')'");
        if (!good)
            leat_parser_skip_item(p);
        if (!good && !item.name)
            continue;
        if (!good) {
            free(item.text);
            item.text = NULL;
            item.broken = true;
        }
        out->items = leat_realloc(out->items, (out->count + 1) * sizeof *out->items);
        out->items[out->count++] = item;
    } while (leat_parser_accept_operator(p, ","));
    return leat_parser_expect_operator(p, ")");
}

static char *normal_form(const struct leat_option_spec *spec, const struct leat_option_value *value) {
    switch (spec->type) {
    case LEAT_OPTION_INT:
    case LEAT_OPTION_SIZE:
        return leat_asprintf("%" PRId64, value->number);
    case LEAT_OPTION_REAL:
        return leat_asprintf("%.17g", value->real);
    case LEAT_OPTION_INTERVAL:
        return leat_asprintf("%" PRId64 "us", value->number);
    case LEAT_OPTION_BOOL:
        return leat_strdup(value->number ? "true" : "false");
    case LEAT_OPTION_ENUM:
    case LEAT_OPTION_TEXT:
    case LEAT_OPTION_PATH:
    case LEAT_OPTION_SECRET:
        break;
    }
    return leat_strdup(value->text ? value->text : "");
}

char *leat_option_normal(const struct leat_option_spec *spec, const char *text, struct leat_error *err) {
    struct leat_option_value value;
    return leat_option_parse(spec, text, &value, err) == LEAT_OK ? normal_form(spec, &value) : NULL;
}

char *leat_given_normalise(struct leat_parser *p, const struct leat_option_spec *spec, const struct leat_given *given) {
    struct leat_error err = {0};
    char *value = leat_option_normal(spec, given->text, &err);
    if (value)
        return value;
    if (given->secret || spec->type == LEAT_OPTION_SECRET)
        leat_diagnose(p->diags, given->value_place, false, "the value is not shown because it comes from the environment",
                      "option '%s': the value does not fit", spec->name);
    else
        leat_diagnose(p->diags, given->value_place, false, NULL, "%s", err.text);
    return NULL;
}

char *leat_option_default_text(const struct leat_option_spec *spec) {
    if (!spec->default_text)
        return NULL;
    struct leat_option_value value = leat_option_default(spec);
    return normal_form(spec, &value);
}

static void unknown_setting(struct leat_parser *p, size_t token, const char *name) {
    static const struct {
        const char *name, *hint;
    } later[] = {
        {"idle_timeout", "it is an option of each source: CREATE SOURCE ... WITH (..., idle_timeout = INTERVAL '1' MINUTE)"},
        {"sql_timeout", "say it to the command: leat sql --timeout"},
        {"sql_memory", "say it to the command: leat sql --memory"},
    };
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (strcasecmp(name, later[i].name) == 0) {
            leat_parser_error(p, token, later[i].hint, "this version of leat does not run the setting '%s'", later[i].name);
            return;
        }
    }
    const char *nearest = leat_option_nearest(leat_settings_table.specs, leat_settings_table.count, name);
    char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
    leat_parser_error(p, token, hint, "there is no setting '%s'", name);
    free(hint);
}

void leat_parser_set(struct leat_parser *p) {
    struct leat_given given = {0};
    size_t name_at = p->at;
    given.place = leat_parser_place(p, p->at);
    given.name = leat_parser_name(p, "a setting's name");
    if (!given.name)
        return;
    if (!leat_parser_accept_operator(p, "=") && !leat_parser_accept(p, "TO")) {
        leat_parser_expected(p, "'='");
        goto out;
    }
    if (!leat_parser_value(p, &given))
        goto out;
    if (!leat_parser_at_end(p)) {
        leat_parser_expected(p, "';'");
        goto out;
    }
    const struct leat_option_table *table = &leat_settings_table;
    const struct leat_option_spec *spec = leat_option_find(table->specs, table->count, given.name);
    if (!spec) {
        unknown_setting(p, name_at, given.name);
        goto out;
    }
    struct leat_project *project = p->project;
    for (size_t i = 0; i < project->setting_count; i++) {
        if (strcmp(project->settings[i].name, spec->name) == 0) {
            leat_parser_error(p, name_at, NULL, "the setting '%s' is set already in %s:%d", spec->name,
                              project->settings[i].place.file, project->settings[i].place.line);
            goto out;
        }
    }
    char *value = leat_given_normalise(p, spec, &given);
    int minute;
    if (value && strcmp(spec->name, "restate_at") == 0 && !leat_setting_time_of_day(value, &minute)) {
        leat_parser_error(p, name_at, "write '03:00', or 'never'", "the setting 'restate_at' is no time of day: '%s'", value);
        free(value);
    } else if (value) {
        project->settings =
            leat_realloc(project->settings, (project->setting_count + 1) * sizeof *project->settings);
        project->settings[project->setting_count++] = (struct leat_setting){
            .name = leat_strdup(spec->name), .value = value, .place = given.place, .secret = given.secret || spec->type == LEAT_OPTION_SECRET, .given = true};
    }
out:
    leat_given_deinit(&given);
}
