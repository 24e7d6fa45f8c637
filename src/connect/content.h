/* The content of one file, decompressed: plain, gzip (RFC 1952, several members) or zstd (RFC 8878, several frames),
 * told by its first bytes. Reads forward; memory is bounded whatever the file says (zstd windows up to 128 MiB). */
#ifndef LEAT_CONNECT_CONTENT_H
#define LEAT_CONNECT_CONTENT_H

#include "base/env.h"

enum leat_compression { LEAT_COMPRESSION_AUTO, LEAT_COMPRESSION_NONE, LEAT_COMPRESSION_GZIP, LEAT_COMPRESSION_ZSTD };

struct leat_content; /* an open file */
/* `compression` AUTO: told by the first bytes. max_ratio: see leat_content_read. */
enum leat_status leat_content_open(struct leat_io *, const char *path, enum leat_compression, int64_t max_ratio,
                                   struct leat_content **out, struct leat_error *) LEAT_MUST;
void leat_content_close(struct leat_content *);
/* The first bytes as stored; fewer if the file is shorter. */
enum leat_status leat_content_head(struct leat_content *, void *out, size_t want, size_t *got,
                                   struct leat_error *) LEAT_MUST;
enum leat_compression leat_content_compression(const struct leat_content *);
/* Up to `want` bytes of content into out. OK with *got < want: the present end of the file, between members.
 * Errors: CORRUPT, bad_data: a member that is cut short or damaged (text names file and byte; *got bytes before it are
 * good); LIMIT, bad_data: after 16 MiB of content more than max_ratio times the bytes read: a bomb. */
enum leat_status leat_content_read(struct leat_content *, void *out, size_t want, size_t *got,
                                   struct leat_error *) LEAT_MUST;
/* Goes on at content byte `position`, at or after the present one (plain: any). A shorter content ends there: CORRUPT.
 */
enum leat_status leat_content_seek(struct leat_content *, uint64_t position, struct leat_error *) LEAT_MUST;
uint64_t leat_content_position(const struct leat_content *);
/* At an end between members: what leat_content_resume needs to go on when the file has grown. */
struct leat_content_mark {
    uint64_t file_at, position;
};
struct leat_content_mark leat_content_mark(const struct leat_content *);
/* Of a content just opened: goes on at the mark without decompressing what came before. */
void leat_content_resume(struct leat_content *, struct leat_content_mark);

#endif
