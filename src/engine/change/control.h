/* Requests to a running engine by other processes; the protocol stands at the top of control.c. */
#ifndef LEAT_ENGINE_CONTROL_H
#define LEAT_ENGINE_CONTROL_H

#include "engine/engine.h"

/* The running side. Thread: the engine's. */
enum leat_status leat_control_listen(struct leat_engine *, struct leat_error *) LEAT_MUST; /* forgets what was asked before */
enum leat_status leat_control_serve(struct leat_engine *, struct leat_error *) LEAT_MUST;  /* carries out what was asked since; fails only when fatal */
void leat_control_close(struct leat_engine *);
/* The engine has left leat_engine_run for a change: with the server closed, answer; then serve and run again. */
bool leat_control_parked(const struct leat_engine *);
enum leat_status leat_control_answer_parked(struct leat_engine *, struct leat_error *) LEAT_MUST;

/* The asking side: waits until it is answered, at most wait_us (INT64_MAX: however long that takes). Errors: NOT_FOUND nobody runs; IO it
 * stopped meanwhile; BUSY no answer in time, and what was asked is taken back. */
enum leat_status leat_control_ask(struct leat_env *, const char *work_dir, const char *request, int64_t wait_us, struct leat_buffer *reply, struct leat_error *) LEAT_MUST;
/* The same in two parts, for who cannot wait. id: names the request; its answer is there once, NOT_FOUND until then. */
enum leat_status leat_control_request(struct leat_env *, const char *work_dir, const char *request, char id[37], struct leat_error *) LEAT_MUST;
enum leat_status leat_control_reply(struct leat_env *, const char *work_dir, const char *id, struct leat_buffer *reply, struct leat_error *) LEAT_MUST;

#endif
