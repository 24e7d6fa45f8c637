/* Shared by disk.c (which records) and disk_image.c (which makes images from the record). Inside sim only. */
#ifndef LEAT_SIM_DISK_RECORD_H
#define LEAT_SIM_DISK_RECORD_H

#include <pthread.h>
#include "sim/disk.h"

/* Files and directories are numbered as they appear (inode); 0 is the root directory. Every name of a directory has a
 * number too (key), so that the model compares numbers. Texts live in the recorder's arena. */
enum sim_op_kind {
    SIM_CREATE,   /* inode gets its first name */
    SIM_MKDIR,    /* likewise, a directory */
    SIM_WRITE,    /* bytes at offset */
    SIM_TRUNCATE, /* to size `offset` */
    SIM_SYNC,     /* data of inode */
    SIM_LINK,     /* inode gets a further name; from_key stays */
    SIM_RENAME,   /* inode moves from from_key to key, replacing what is there */
    SIM_UNLINK,   /* key goes */
    SIM_SYNC_DIR, /* entries of directory `inode` */
};
struct sim_op {
    enum sim_op_kind kind;
    int inode;
    int key, from_key; /* -1: none */
    uint64_t offset;
    const char *bytes;
    size_t length;
};
struct sim_key {
    int dir;
    const char *name;
};
struct sim_entry { int key, inode; };
struct sim_dir {
    struct sim_entry *entries;
    size_t count, capacity;
};
struct sim_inode {
    bool is_dir, sync_failed;
    uint64_t size_bytes;       /* of the file as it is now */
    const char *first_bytes;   /* what was there at the start: durable */
    size_t first_length;
    struct sim_dir live, first; /* a directory's entries: now; at the start */
};
struct sim_model;
struct leat_sim_disk {
    struct leat_io io;
    char *root;
    struct leat_arena arena;
    struct sim_op *ops;
    size_t op_count, op_capacity;
    struct sim_inode *inodes;
    size_t inode_count, inode_capacity;
    struct sim_key *keys;
    size_t key_count, key_capacity;
    int *key_slots; /* open addressing over keys, -1 empty; a power of two */
    size_t key_slot_count;
    struct sim_model *model; /* kept between images */
    uint64_t *seen;          /* leat_sim_disk_is_new: hashes of images at seen_at */
    size_t seen_count, seen_capacity, seen_at;
    uint64_t calls[LEAT_SIM_CALL_COUNT], fail_at[LEAT_SIM_CALL_COUNT];
    int fail_errno[LEAT_SIM_CALL_COUNT];
    uint64_t failures, used_after_failed_sync, quota_left;
    pthread_mutex_t mutex;
};

int sim_dir_find(const struct sim_dir *, int key); /* inode, or -1 */
void sim_dir_set(struct sim_dir *, int key, int inode);
void sim_dir_remove(struct sim_dir *, int key);
void sim_model_free(struct sim_model *);

#endif
