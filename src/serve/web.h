/* Files in the program; the build writes the tables (cmake/web_files.cmake). */
#ifndef LEAT_SERVE_WEB_H
#define LEAT_SERVE_WEB_H

#include <stddef.h>

struct leat_web_file { const char *path; const unsigned char *bytes, *end; }; /* path: "app.js", "img/logo.svg" */
extern const struct leat_web_file leat_web_files[]; /* the dashboard: src/serve/web/ and uPlot */
extern const size_t leat_web_file_count;
extern const struct leat_web_file leat_example_files[]; /* examples/orders/, for `leat demo` */
extern const size_t leat_example_file_count;

#endif
