/* The option tables of a project: settings (SET) and what each connector takes in WITH. Parsing, messages, defaults
 * and the reference pages come from them. Tables are constant. */
#ifndef LEAT_PROJECT_TABLES_H
#define LEAT_PROJECT_TABLES_H

#include "base/options.h"
#include "project/project.h"

/* Rows for the options of a source or a sink that connects by TLS. */
#define LEAT_TLS_OPTIONS \
    {.name = "tls", .type = LEAT_OPTION_BOOL, .default_text = "false", \
     .prose = "Connect by TLS; the server's certificate must be signed by an authority and be for the host."}, \
    {.name = "tls_ca", .type = LEAT_OPTION_PATH, .prose = "PEM file of the authorities; left out: the system's."}, \
    {.name = "tls_cert", .type = LEAT_OPTION_PATH, .prose = "PEM file of a certificate of ours, where the server asks for one."}, \
    {.name = "tls_key", .type = LEAT_OPTION_PATH, .prose = "PEM file of its key; left out: it is in `tls_cert`."}, \
    {.name = "tls_any_host", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "The certificate need not be for the host's name or address."}

struct leat_option_table {
    const char *name;  /* the connector's, or "settings" */
    const char *prose; /* Markdown */
    const struct leat_option_spec *specs;
    size_t count;
};
extern const struct leat_option_table leat_settings_table;
extern const struct leat_option_table *const leat_connector_tables[];
extern const size_t leat_connector_table_count;
const struct leat_option_table *leat_connector_table(const char *connector); /* NULL: not one of this version's */

/* A value, or an option's default, in the normal form of struct leat_option, malloc'd; NULL: it does not fit (err says why), no default. */
char *leat_option_normal(const struct leat_option_spec *, const char *text, struct leat_error *);
char *leat_option_default_text(const struct leat_option_spec *);

/* Formats for which a connector's option means something, as bits 1 << enum leat_format; ~0u: all. */
unsigned leat_connector_option_formats(const struct leat_option_table *table, const char *option);

/* Markdown reference pages of all settings and of all connectors. */
void leat_reference_settings(struct leat_buffer *out);
void leat_reference_connectors(struct leat_buffer *out);

#endif
