/* The files of src/serve/web/, in the program: the build writes the table (cmake/web_files.cmake). */
#ifndef LEAT_SERVE_WEB_H
#define LEAT_SERVE_WEB_H

#include <stddef.h>

struct leat_web_file { const char *path; const unsigned char *bytes, *end; }; /* path: "app.js", "img/logo.svg" */
extern const struct leat_web_file leat_web_files[];
extern const size_t leat_web_file_count;

#endif
